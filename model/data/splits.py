"""The two evaluation protocols: who is training, validation and test. Knows nothing of files or tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from model.data.catalogue import Catalogue
from model.data.sequences import Cases, Sequences, cases_at, expand

Protocol = Literal["leave-one-out", "next-item"]
PROTOCOLS: tuple[Protocol, ...] = ("leave-one-out", "next-item")
# One in ten of the newest half validates, not all of the newest 5 %. Chosen on Yoochoose's training file,
# whose last day stood for the test: recall@20 of neighbours + transitions on that day is .607 with the newest
# 5 % held back, .632 with one in 3, .634 with one in 10, .635 with one in 20, .637 with none.
ONE_OF = 10


@dataclass(frozen=True)
class Dataset:
    """A catalogue, the sessions to learn from, and what to predict.

    Attributes
    ----------
    name : str
    protocol : str
        ``leave-one-out``, ``next-item`` or ``tables`` (the split of the training set table).
    catalogue : Catalogue
    train : Sequences
        All that training may see; every click but the first of a session is a target. Holds no validation or
        test target.
    valid, test : Cases
        May be empty when the data are too few.
    train_cases : Cases, optional
        Training cases that carry intent vectors (from the training set table).
    validation_sequences : Sequences, optional
        What ``refit`` puts back: the training sessions with the validation items.
    all_sequences : Sequences, optional
        Every session that is known, those of the test included: what serves learns from them after all
        figures are taken.
    refused : int
        Rows that were not taken.
    refused_by : dict
        Kind of reason to rows, the most frequent first.
    own_split : bool
        Whether validation and test are those of the folder's own files.
    notes : tuple of str
        What a reader of the figures must know, one line each.
    """

    name: str
    protocol: str
    catalogue: Catalogue
    train: Sequences
    valid: Cases
    test: Cases
    train_cases: Cases | None = None
    validation_sequences: Sequences | None = None
    refused: int = 0
    refused_by: dict[str, int] = field(default_factory=dict)
    own_split: bool = False
    notes: tuple[str, ...] = ()
    all_sequences: Sequences | None = None

    @property
    def item_counts(self) -> np.ndarray:
        """Clicks of every item in training, int64, shape (items,)."""
        return np.bincount(self.train.items, minlength=len(self.catalogue))

    @cached_property
    def fitted(self) -> dict[str, Any]:
        """What was fitted on this very dataset, by name, so that baselines, the blend and the model share the
        work; empty at first.
        """
        return {}

    def with_catalogue(self, catalogue: Catalogue) -> Dataset:
        """Return the dataset with the same items described differently (say, with text vectors)."""
        return replace(self, catalogue=catalogue)

    def refit(self) -> Dataset:
        """Return the dataset whose training holds the validation items too; it has no validation cases any
        more.
        """
        if self.validation_sequences is None:
            return self
        note = "refit: validation items are part of training"
        return replace(
            self,
            train=self.validation_sequences,
            valid=self.valid.select(np.array([], dtype=np.int64)),
            notes=(*self.notes, note),
        )

    def everything(self) -> Dataset | None:
        """Return the dataset that trains on every known session, without cases; none where these are not
        known.
        """
        if self.all_sequences is None:
            return None
        none = np.array([], dtype=np.int64)
        return replace(
            self,
            train=self.all_sequences,
            valid=self.valid.select(none),
            test=self.test.select(none),
            train_cases=None,
        )


@dataclass(frozen=True)
class Parts:
    """A split: training sessions, validation and test cases, and the training sessions with validation put
    back.
    """

    train: Sequences
    valid: Cases
    test: Cases
    validation_sequences: Sequences


def leave_one_out(sessions: Sequences) -> Parts:
    """Split off the last click of every session for testing and the one before for validation.

    Parameters
    ----------
    sessions : Sequences

    Returns
    -------
    Parts
        A session of two clicks has a test case only, one of one click is training only (it still counts for
        popularity).

    Examples
    --------
    >>> parts = leave_one_out(Sequences.of([[7, 8, 9, 5]]))
    >>> parts.train[0].tolist(), parts.valid.targets.tolist(), parts.test.targets.tolist()
    ([7, 8], [9], [5])
    """
    lengths = sessions.lengths
    tested, validated = np.flatnonzero(lengths >= 2), np.flatnonzero(lengths >= 3)
    held_back = np.where(lengths >= 3, 2, np.where(lengths == 2, 1, 0))
    return Parts(
        sessions.cut(lengths - held_back),
        cases_at(sessions, validated, lengths[validated] - 2),
        cases_at(sessions, tested, lengths[tested] - 1),
        sessions.cut(lengths - (lengths >= 2)),
    )


def next_item(
    train: Sequences,
    valid: Sequences | None,
    test: Sequences | None,
    *,
    valid_share: float = 0.05,
    test_share: float = 0.1,
) -> Parts:
    """Predict every next click of the test sessions; sessions are never cut.

    Parameters
    ----------
    train : Sequences
    valid, test : Sequences, optional
        None = part of ``train``: for the test the sessions that ended last, for validation one in ten of the
        newest that are left (see ``among_newest``).
    valid_share, test_share : float
        Share of the sessions taken for a missing part.

    Returns
    -------
    Parts
    """
    if test is None:
        train, test = by_time(train, test_share)
    before = train if valid is None else train.joined(valid)
    if valid is None:
        train, valid = among_newest(train, valid_share)
    return Parts(train, expand(valid), expand(test), before)


def by_time(sessions: Sequences, share: float) -> tuple[Sequences, Sequences]:
    """Split sessions by the time of their last click: the earlier ones, and the latest ``share`` of them (at
    least one of two).
    """
    order = np.argsort(sessions.last_times, kind="stable")
    border = len(sessions) - _late(sessions, share)
    return sessions.select(np.sort(order[:border])), sessions.select(np.sort(order[border:]))


def among_newest(sessions: Sequences, share: float) -> tuple[Sequences, Sequences]:
    """Split off every tenth session id of the newest sessions, so that training does not lose the period that
    is most like the test.

    An id with several sessions (a visitor, cut by the gap rule) goes as a whole: what training keeps of it is
    older than all that is split off. Other visitors' sessions of the same hours do train, so figures on the
    part that is split off are higher than those of a later day: they are for choosing only.

    Parameters
    ----------
    sessions : Sequences
    share : float
        Share of the sessions to split off, out of ten times as many; about that many where ids have several
        sessions.

    Returns
    -------
    rest, chosen : Sequences
        In the order given; the same for the same sessions. Where the newest are all of one id, they are split
        by time.

    Examples
    --------
    >>> [
    ...     [row.tolist() for row in part]
    ...     for part in among_newest(Sequences.of([[0], [1, 1], [2, 2, 2], [3, 3, 3, 3]]), 0.25)
    ... ]
    [[[0], [1, 1], [3, 3, 3, 3]], [[2, 2, 2]]]
    """
    newest = np.argsort(sessions.last_times, kind="stable")[::-1][: ONE_OF * _late(sessions, share)].tolist()
    ids = list(dict.fromkeys(sessions.session_ids[place] for place in newest))
    if len(ids) < 2:
        return by_time(sessions, share)
    taken = set(ids[1::ONE_OF])
    chosen = np.zeros(len(sessions), dtype=bool)
    chosen[[place for place in newest if sessions.session_ids[place] in taken]] = True
    return sessions.select(~chosen), sessions.select(chosen)


def _late(sessions: Sequences, share: float) -> int:
    return min(max(round(len(sessions) * share), 1), len(sessions) - 1) if len(sessions) > 1 else 0
