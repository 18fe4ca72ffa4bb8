"""What an edit of the definitions would do to the registry and to those who read it; refuses to break a
versioned service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from feast import FeatureStore

VERSIONED = re.compile(r"_v\d+$")


class BreakingChangeError(ValueError):
    """A versioned service would lose or retype a feature; names them and the remedy."""


class SnapshotError(ValueError):
    """A file that holds no snapshot of the services; names it and the remedy."""


@dataclass(frozen=True)
class Change:
    """One difference between the registry and the definitions.

    Attributes
    ----------
    kind : str
        ``added``, ``removed``, ``retyped`` or ``rekeyed``.
    what : str
        ``view:feature``, or the name of a view or service.
    before, after : str
        Types or keys; empty where there is none.
    used_by : tuple of str
        Services of the registry that read it.
    breaking : bool
        Whether a versioned service that stays, or its readers, would see something taken away or changed.
    """

    kind: str
    what: str
    before: str
    after: str
    used_by: tuple[str, ...]
    breaking: bool

    def __str__(self) -> str:
        types = f" {self.before or '-'} -> {self.after or '-'}" if self.before or self.after else ""
        users = f", used by {', '.join(self.used_by)}" if self.used_by else ""
        return f"{self.kind:8} {self.what}{types}{users}{'  BREAKING' if self.breaking else ''}"


@dataclass(frozen=True)
class Shape:
    """What matters to readers: features by service and by view, each with its type, and the keys of each
    view.
    """

    services: Mapping[str, Mapping[str, str]]
    views: Mapping[str, Mapping[str, str]]
    keys: Mapping[str, tuple[str, ...]]


def shape_of(objects: Iterable[Any]) -> Shape:
    """Take the shape of Feast objects, as of `definitions.OBJECTS`.

    Parameters
    ----------
    objects : iterable
        Entities, views and services; anything else is passed over.
    """
    from feast import FeatureService, FeatureView

    views, keys, services, typed = {}, {}, {}, {}
    listed = list(objects)
    for view in (thing for thing in listed if isinstance(thing, FeatureView)):
        key_names = tuple(sorted(str(name) for name in view.join_keys))
        typed[view.name] = {field.name: _type(field) for field in view.schema}
        views[view.name] = {name: kind for name, kind in typed[view.name].items() if name not in key_names}
        keys[view.name] = tuple(f"{name} {typed[view.name].get(name, '?')}" for name in key_names)
    for service in (thing for thing in listed if isinstance(thing, FeatureService)):
        services[service.name] = {
            f"{projection.name_to_use()}:{field.name}": typed.get(projection.name, {}).get(
                field.name, _type(field)
            )
            for projection in service.feature_view_projections
            for field in projection.features
        }
    return Shape(services, views, keys)


def shape_of_registry(store: FeatureStore) -> Shape:
    """Take the shape of what is registered."""
    return shape_of([*store.list_feature_views(), *store.list_feature_services()])


def compare(before: Shape, after: Shape) -> list[Change]:
    """List the differences, breaking ones first.

    Examples
    --------
    >>> old = Shape({"s_v1": {"v:a": "Int64"}}, {"v": {"a": "Int64"}}, {"v": ("k String",)})
    >>> new = Shape({"s_v1": {"v:a": "Float64"}}, {"v": {"a": "Float64"}}, {"v": ("k String",)})
    >>> [(change.kind, change.what, change.breaking) for change in compare(old, new)]
    [('retyped', 'v:a', True), ('retyped', 's_v1 v:a', True)]
    """
    users = _users(before)
    changes = []
    for kind, what, old, new in _differences(_flat(before.views), _flat(after.views)):
        readers = users.get(what, ())
        changes.append(
            Change(kind, what, old, new, readers, kind != "added" and any(map(VERSIONED.search, readers)))
        )
    for view in sorted(set(before.keys) & set(after.keys)):
        if before.keys[view] != after.keys[view]:
            readers = tuple(
                sorted(
                    {user for what, names in users.items() if what.startswith(f"{view}:") for user in names}
                )
            )
            changes.append(
                Change(
                    "rekeyed",
                    view,
                    ", ".join(before.keys[view]),
                    ", ".join(after.keys[view]),
                    readers,
                    bool(readers),
                )
            )
    changes.extend(_service_changes(before, after))
    return sorted(changes, key=lambda change: not change.breaking)


def refuse_breaking(changes: Sequence[Change]) -> None:
    """Stop when a versioned service would break.

    Raises
    ------
    BreakingChangeError
        With every breaking change and the remedy.
    """
    breaking = [change for change in changes if change.breaking]
    if breaking:
        listed = "; ".join(f"{change.kind} {change.what}" for change in breaking)
        raise BreakingChangeError(
            f"{len(breaking)} breaking change(s) of versioned services: {listed}. Keep these, and make a "
            "new version of the service instead"
        )


def as_rows(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Changes as plain dicts, for JSON."""
    return [asdict(change) for change in changes]


def read_snapshot(file: Path) -> Shape:
    """Read a committed shape, as `write_snapshot` wrote it.

    Raises
    ------
    SnapshotError
        No such file, or another kind of file.
    """
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        return Shape(
            raw["services"], raw["views"], {view: tuple(names) for view, names in raw["keys"].items()}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotError(
            f"{file} is no snapshot of the services ({error!r}); write one: python -m feature_repo plan "
            f"--against {file} --update"
        ) from None


def write_snapshot(file: Path, shape: Shape) -> None:
    """Write a shape as JSON, one feature a line, so that a change of the contract is read in the review."""
    file.write_text(
        json.dumps(
            {"services": shape.services, "views": shape.views, "keys": shape.keys}, indent=1, sort_keys=True
        )
        + "\n",
        encoding="utf-8",
    )


def _service_changes(before: Shape, after: Shape) -> list[Change]:
    changes = [
        Change("added", name, "", "", (), False)
        for name in sorted(set(after.services) - set(before.services))
    ]
    changes += [
        Change("removed", name, "", "", (), VERSIONED.search(name) is not None)
        for name in sorted(set(before.services) - set(after.services))
    ]
    for name in sorted(set(before.services) & set(after.services)):
        for kind, what, old, new in _differences(before.services[name], after.services[name]):
            changes.append(
                Change(
                    kind,
                    f"{name} {what}",
                    old,
                    new,
                    (),
                    kind != "added" and VERSIONED.search(name) is not None,
                )
            )
    return changes


class _Difference(NamedTuple):
    kind: str
    name: str
    before: str
    after: str


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[_Difference]:
    removed = [_Difference("removed", name, before[name], "") for name in sorted(set(before) - set(after))]
    added = [_Difference("added", name, "", after[name]) for name in sorted(set(after) - set(before))]
    return [*removed, *added] + [
        _Difference("retyped", name, before[name], after[name])
        for name in sorted(set(before) & set(after))
        if before[name] != after[name]
    ]


def _flat(views: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {f"{view}:{name}": kind for view, features in views.items() for name, kind in features.items()}


def _users(shape: Shape) -> dict[str, tuple[str, ...]]:
    users: dict[str, list[str]] = {}
    for service, features in sorted(shape.services.items()):
        for feature in features:
            users.setdefault(feature, []).append(service)
    return {feature: tuple(names) for feature, names in users.items()}


def _type(field: Any) -> str:
    return str(field.dtype)
