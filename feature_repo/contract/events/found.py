"""What types of events a log holds, counted and said. Knows no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from feature_repo.contract.events.rules import EventRules
from feature_repo.contract.spellings.event_types import canonical

SHOWN = 8  # types that a note names


class TypeCounts:
    """Counts the types of a log and says what they came to."""

    def __init__(self, rules: EventRules) -> None:
        self.rules, self.counts = rules, Counter[str | None]()

    def add(self, types: pa.Array | pa.ChunkedArray) -> None:
        """Count a column of types."""
        counted = types.combine_chunks() if isinstance(types, pa.ChunkedArray) else types
        for entry in counted.value_counts().to_pylist():
            self.counts[(entry["values"] or "").strip() or None] += entry["counts"]

    def notes(self) -> list[str]:
        """Say what was found, a line a fact; nothing where no event has a type.

        Examples
        --------
        >>> counts = TypeCounts(EventRules())
        >>> counts.add(pa.array(["view", "view", "transaction", "zap", None]))
        >>> for line in counts.notes():
        ...     print(line)
        event types: view 2, no type 1, transaction 1, zap 1; 3 extend sessions; kept aside: transaction \
(purchase, ends interest)
        event types that no rule names are kept and not folded: zap 1; name them in session.event_types
        """
        if not any(name is not None for name in self.counts):
            return []
        ranked = sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0] or ""))
        groups: dict[str, list[tuple[str | None, int]]] = {"folded": [], "aside": [], "unnamed": []}
        for name, count in ranked:
            rule = self.rules.of(name)
            group = "folded" if rule.folded else "aside" if rule.named else "unnamed"
            groups[group].append((name, count))
        said = [self._shown(ranked), f"{_total(groups['folded'])} extend sessions"]
        if groups["aside"]:
            words = ", ".join(self._does(name) for name, _ in groups["aside"])
            said.append(f"kept aside: {words}")
        lines = [f"event types: {'; '.join(said)}"]
        if groups["unnamed"]:
            listed = self._shown(groups["unnamed"])
            lines.append(
                f"event types that no rule names are kept and not folded: {listed}; name them in "
                "session.event_types"
            )
        return lines

    def folded(self) -> int:
        """Events that extend sessions."""
        return sum(count for name, count in self.counts.items() if self.rules.of(name).folded)

    def nothing_folded(self) -> str | None:
        """Say that no event extends a session, and the remedy; None where some do."""
        if self.folded() or not self.counts:
            return None
        listed = self._shown(sorted(self.counts.items(), key=lambda pair: -pair[1]))
        return (
            f"no event extends a session: the types are {listed}, and session.event_types.fold = "
            f"{list(self.rules.fold)}; name there those that count as clicks"
        )

    def _shown(self, group: Iterable[tuple[str | None, int]]) -> str:
        listed = list(group)
        words = [f"{'no type' if name is None else name[:40]} {count:,}" for name, count in listed[:SHOWN]]
        more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
        return ", ".join(words) + more

    def _does(self, name: str | None) -> str:
        known, shown = canonical(name), str(name)[:40]
        does = [known] if known != shown else []
        if self.rules.of(name).ends:
            does.append("ends interest")
        return f"{shown} ({', '.join(does)})" if does else shown


def _total(group: Iterable[tuple[str | None, int]]) -> str:
    return f"{sum(count for _, count in group):,}"
