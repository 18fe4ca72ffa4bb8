"""Reads what may be shown out of a query or a body. Knows no route and no catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from feature_repo.contract.items.messages import Scalar
from model.recommender.attributes import AttributeRule
from model.recommender.limits import NO_LIMITS, Limits, LimitsError, checked
from streaming.http.messages import MOST_LIMITED, MOST_RULES, AttributeBody, LimitsBody
from streaming.http.wire.errors import ApiError, checked_id


def rules_of(
    equal: Sequence[str | None], below: Sequence[str | None], above: Sequence[str | None]
) -> tuple[AttributeRule, ...]:
    """Read the rules on attributes of a query; several values of one name are alternatives.

    Raises
    ------
    ApiError
        400 for a text without a colon or a bound that is no number.

    Examples
    --------
    >>> rules_of(["language:en"], ["price:20"], ["price:5"])[1]
    AttributeRule(name='price', equal=None, below=20.0, above=5.0)
    """
    wanted: dict[str, list[Scalar]] = {}
    bounds: dict[str, dict[str, float]] = {}
    for text in equal:
        name, value = _named("equal", str(text))
        wanted.setdefault(name, []).append(value)
    for word, texts in (("below", below), ("above", above)):
        for text in texts:
            name, value = _named(word, str(text))
            if isinstance(value, str | bool):
                raise ApiError(400, "bad_parameter", f"{word}={str(text)[:60]!r}: {value!r} is no number")
            bounds.setdefault(name, {})[word] = float(value)
    if len(wanted | bounds) > MOST_RULES:
        raise ApiError(400, "bad_count", f"attributes hold {MOST_RULES} rules at most; send fewer")
    return tuple(
        AttributeRule(name, tuple(wanted[name]) if name in wanted else None, **bounds.get(name, {}))
        for name in dict.fromkeys([*wanted, *bounds])
    )


def _named(word: str, text: str) -> tuple[str, Scalar]:
    """Split NAME:VALUE; a value that is a number or a truth value in JSON is one."""
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise ApiError(400, "bad_parameter", f"{word}={text[:60]!r} is not NAME:VALUE; write price:20")
    try:
        found: Scalar = msgspec.json.decode(value, type=bool | int | float)
    except (msgspec.MsgspecError, UnicodeError):
        found = value
    return name, found


def limits_of(body: LimitsBody | None) -> Limits:
    """Take the rules of a body.

    Raises
    ------
    ApiError
        400 for rules that make no sense, too many of them, or ids that are none.
    """
    if body is None:
        return NO_LIMITS
    if len(body.attributes) > MOST_RULES:
        raise ApiError(400, "bad_count", f"attributes hold {MOST_RULES} rules at most; send fewer")
    if max(len(body.only), len(body.exclude)) > MOST_LIMITED:
        raise ApiError(400, "bad_count", f"only and exclude hold {MOST_LIMITED:,} ids at most; send fewer")
    for item in (*body.only, *body.exclude):
        checked_id("item_id", item)
    rules = tuple(_rule(name, one) for name, one in body.attributes.items())
    return sensible(
        Limits(
            body.category,
            tuple(body.only),
            frozenset(body.exclude),
            body.min_score,
            body.per_category,
            body.new_share,
            body.seed,
            rules,
        )
    )


def sensible(limits: Limits) -> Limits:
    """Return rules that make sense together.

    Raises
    ------
    ApiError
        400 for the others.
    """
    try:
        return checked(limits)
    except LimitsError as error:
        raise ApiError(400, error.reason, str(error)) from None


def _rule(name: str, body: AttributeBody) -> AttributeRule:
    equal = tuple(body.equal) if isinstance(body.equal, list) else body.equal
    return AttributeRule(name, equal, body.below, body.above)
