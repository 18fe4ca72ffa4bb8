"""The sentence that says whether one ranker is better than another. Knows nothing of how either is made."""

from __future__ import annotations

from model.evaluate.metrics import Interval


def verdict(first: str, other: str, metric: str, gap: Interval) -> str:
    """Say a paired difference and whether it is proven.

    Parameters
    ----------
    first, other : str
        Names of the two.
    metric : str
    gap : Interval
        First minus other on the same cases, with its 95 % bootstrap interval over sessions.

    Returns
    -------
    str
        One line without a full stop.

    Examples
    --------
    >>> verdict("model", "best baseline, EASE", "N@10", Interval(0.0041, -0.0012, 0.0093))
    'model against best baseline, EASE: N@10 +0.0041 [-0.0012, +0.0093], not proven'
    >>> verdict("with intents", "without", "N@10", Interval(-0.01, -0.02, -0.001))
    'with intents against without: N@10 -0.0100 [-0.0200, -0.0010], proven worse'
    """
    if gap.mean != gap.mean:
        return f"{first} against {other}: {metric} {gap}"
    word = "not proven" if not gap.proven else "proven" if gap.low > 0 else "proven worse"
    return f"{first} against {other}: {metric} {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}], {word}"
