"""What the demo shows: each section made of the events of one run and the tables it left. No figure from
elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dagster_project.demo import figures
from dagster_project.run import steps
from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings
from spark_jobs.lake.log import DeltaLog

METRICS = ("R@5", "R@10", "R@20", "N@10", "MRR@20")
PREFIX_SHOWN, RECOMMENDED_SHOWN = 6, figures.RECOMMENDED_SHOWN
NOT_MADE = "not made in this run"
Facts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Section:
    """One table of the summary.

    Parameters
    ----------
    title : str
        Above it.
    head : sequence of str
        Names of its columns.
    rows : sequence of sequence of str
        Its cells.
    note : str
        Below it; may be empty.
    pictures : sequence of str
        SVG of the page, above the table.
    cards : bool
        Whether the page shows each row as a card.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    pictures: Sequence[str] = ()
    cards: bool = False


def number(value: Any, digits: int = 0) -> str:
    """Write a figure for a person; a dash where there is none.

    Examples
    --------
    >>> number(12345), number(0.5, 2), number(None)
    ('12,345', '0.50', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.{digits}f}" if isinstance(value, int | float) else str(value)


def tables(settings: Settings, facts: Facts) -> Section:
    """List each table with rows, version, and what this run changed."""
    rows = []
    for name in columns.SCHEMAS:
        path = settings.table(name)
        if DeltaLog(path).version() < 0:
            continue
        state = DeltaLog(path).snapshot()
        made = [known for key, known in facts.items() if steps.TABLES.get(key) == name]
        added = sum(
            int(known.get("inserted") or 0) + int(known.get("updated") or 0)
            for known in made
            if not known.get("unchanged")
        )
        seconds = sum(float(known.get("seconds") or 0) for known in made if not known.get("unchanged"))
        rows.append(
            (
                name,
                number(state.rows()),
                str(state.version),
                number(added) if made else "-",
                number(seconds, 1) if made else "-",
            )
        )
    return Section("Tables", ("table", "rows", "Delta version", "rows written by this run", "seconds"), rows)


def intents(facts: Facts) -> Section:
    """Show what the intents cost and how they look."""
    known = facts.get(columns.SESSION_INTENTS)
    if known is None:
        return Section("Intents", ("", ""), [("intents", NOT_MADE)])
    skipped = bool(known.get("unchanged"))
    hidden = {
        "dagster/row_count",
        "bytes",
        "files",
        "delta_version",
        "dagster/uri",
        "refused",
        "unchanged",
        "seconds",
        "inserted",
        "updated",
    }
    rows = [
        ("intents in the table", number(known.get("dagster/row_count"))),
        ("seconds of this run", "0 (nothing had changed)" if skipped else number(known.get("seconds"), 1)),
    ]
    if skipped:
        rows.append(("LLM calls of this run", "0"))
    else:
        rows += [
            (name.replace("_", " "), _shown(value))
            for name, value in known.items()
            if name not in hidden and not name.startswith(("dagster/", "check:"))
        ]
    return Section("Intents", ("", ""), rows, str(known.get("check:copy_share") or ""))


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_shown(inner) for inner in value)
    return (
        number(value, 3)
        if isinstance(value, float)
        else number(value)
        if isinstance(value, int) and not isinstance(value, bool)
        else str(value)
    )


def quality(facts: Facts, report: Mapping[str, Any] | None) -> Section:
    """Show the model against baselines and controls, with 95 % intervals."""
    known = facts.get("candidate_model")
    if known is None or not report:
        return Section("Quality", ("model",), [(NOT_MADE,)])
    rows = []
    for row in report.get("rows", []):
        found = row["metrics"]["metrics"]
        known_names = [name for name in METRICS if name in found and found[name]["mean"] is not None]
        shown = {
            name: f"{found[name]['mean']:.3f} [{found[name]['low']:.3f}, {found[name]['high']:.3f}]"
            for name in known_names
        }
        rows.append((row["name"], *(shown.get(name, "-") for name in METRICS)))
    said = " ".join(f"{line}." for line in report.get("verdicts", []))
    made = (
        f"Model {known.get('version')}, {number(known.get('cases'))} cases, "
        f"{number(known.get('seconds'), 0)} s. "
    )
    kept = (
        (
            "Kept from an earlier run: same code and settings, "
            f"{float(known.get('new_cases_share') or 0):.1%} new cases; measured then."
        )
        if known.get("kept")
        else "Trained and measured in this run."
    )
    return Section(
        "Quality on the test cases, mean and 95 % interval",
        ("model", *METRICS),
        rows,
        f"{said} {made}{kept}".strip(),
        figures.of_quality(report),
    )


def streaming(facts: Facts) -> Section:
    """Show what the consumer answered and how fast."""
    known = facts.get("live/recommendations")
    if known is None:
        return Section("Streaming", ("", ""), [("live clicks", NOT_MADE)])
    if known.get("unchanged"):
        return Section("Streaming", ("", ""), [("live clicks", "nothing was replayed in this run")])
    rows = [
        ("clicks sent", number(known.get("clicks"))),
        ("answers", number(known.get("answers"))),
        ("known duplicates", number(known.get("duplicates"))),
        ("dead letters", number(known.get("dead_letters"))),
        ("p50, click to answer", f"{number(known.get('p50_ms'), 1)} ms"),
        ("p99, click to answer", f"{number(known.get('p99_ms'), 1)} ms"),
        ("answers a second", number(known.get("answers_per_second"), 1)),
        ("model", number(known.get("model_version"))),
    ]
    earlier = (
        ""
        if known.get("sent_by_this_run")
        else " All clicks were sent by an earlier run; this run read the figures from the topics."
    )
    return Section(
        "Streaming",
        ("", ""),
        rows,
        f"Latency: from the click's record time in Kafka to that of its answer.{earlier}",
        figures.of_replay(known),
    )


def parity(facts: Facts) -> Section:
    """Show how many served rows differ from the batch recomputation."""
    known = facts.get("live/parity")
    if known is None:
        return Section("Live against batch features", ("", ""), [("comparison", NOT_MADE)])
    rows = [
        (name, number(known.get(name)))
        for name in ("compared", "mismatch", "missing", "extra", "stale")
        if known.get(name) is not None
    ]
    return Section("Live against batch features", ("", ""), rows, "All but `compared` must be 0.")


def sessions(settings: Settings, facts: Facts) -> Section:
    """Show answered sessions drawn by a fixed seed: titles, intents, recommendations with their reasons, and
    what was really clicked next.
    """
    known = facts.get("live/recommendations") or {}
    examples = known.get("examples") or []
    if not examples or known.get("unchanged"):
        return Section("Live sessions", ("",), [(NOT_MADE,)])
    titles = titles_of(settings)
    prefixes = _prefixes(settings, examples)
    rows = []
    for entry in examples:
        answer = entry["answer"]
        seen = prefixes.get((entry["partition"], entry["offset"]), [])[-PREFIX_SHOWN:]
        after = entry["clicked_next"]
        rank = entry["rank"] or f"not among {len(answer['items'])}"
        rows.append(
            (
                str(answer["session_id"]),
                " > ".join(titles.get(item, item) for item in seen) or "-",
                " / ".join(_named(answer["intents"][view], titles) for view in ("long", "short")),
                "; ".join(_recommended(item, titles) for item in answer["items"][:RECOMMENDED_SHOWN]),
                titles.get(after, after),
                str(rank),
            )
        )
    return Section(
        f"{len(rows)} live sessions, drawn by a fixed seed",
        (
            "session",
            "last clicks",
            "intent, long / short",
            "recommended, and why",
            "clicked next",
            "its rank",
        ),
        rows,
        "One click of each drawn session that had a next one; what was clicked next was not known when it "
        "was answered.",
        figures.of_session(settings, examples[0], next(iter(prefixes.values()), [])),
        cards=True,
    )


def _named(intent: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Return an intent's name, or its words, or the titles that it stands for."""
    grounded = ", ".join(titles.get(item, item) for item in (intent.get("items") or [])[:2])
    return str(intent.get("name") or intent.get("text") or grounded or "-")


def _recommended(item: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    reason = f" ({item['reason']})" if item.get("reason") else ""
    return f"{titles.get(item['item_id'], item['item_id'])}{reason}"


def titles_of(settings: Settings) -> dict[str, str]:
    """Return what each item is called; its id where it has no title."""
    if DeltaLog(settings.table(columns.ITEMS)).version() < 0:
        return {}
    items = DeltaLog(settings.table(columns.ITEMS)).read(["item_id", "title"])
    return {
        item: title or item
        for item, title in zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True)
    }


def _prefixes(settings: Settings, examples: Sequence[Mapping[str, Any]]) -> dict[tuple[int, int], list[str]]:
    import pyarrow.compute as pc

    if DeltaLog(settings.table(columns.SCORE_LOG)).version() < 0:
        return {}
    wanted = [int(entry["offset"]) for entry in examples]
    found = DeltaLog(settings.table(columns.SCORE_LOG)).read(
        ["partition", "offset", "items"],
        filter=pc.field("offset").isin(wanted),
    )
    return {(row["partition"], row["offset"]): row["items"] for row in found.to_pylist()}


def clicked(settings: Settings, facts: Facts) -> list[str]:
    """Return the last items of the first session that is shown; empty where none is."""
    examples = (facts.get("live/recommendations") or {}).get("examples") or []
    seen = list(_prefixes(settings, examples[:1]).values()) if examples else []
    return seen[0][-PREFIX_SHOWN:] if seen else []


class CheckResult(NamedTuple):
    """How one check of an asset ended."""

    asset: str
    check: str
    passed: bool
    blocking: bool
    text: str


def checks(results: Sequence[CheckResult]) -> Section:
    """List failed checks."""
    failed = [
        (f"{result.asset}: {result.check}", "stops what follows" if result.blocking else "warns", result.text)
        for result in results
        if not result.passed
    ]
    note = f"{len(results) - len(failed)} of {len(results)} checks passed."
    return Section("Checks", ("check", "kind", "found"), failed or [("all", "", "passed")], note)
