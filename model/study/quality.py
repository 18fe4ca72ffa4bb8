"""The quality table of a trained model beside every baseline and control; read by the demo, Dagster and the
gate. Draws nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from model.config import ModelConfig
from model.data.sequences import Cases
from model.data.splits import Dataset
from model.evaluate.judge import SEEN, Evaluation, Ranker, Seen, default_seen, evaluate
from model.evaluate.metrics import Metrics, difference
from model.evaluate.slices import sliced
from model.mix.hybrid import NETWORK, Hybrid
from model.recommender.recommender import Scorer
from model.recommender.train import Trained, train
from model.study.baselines import baselines
from model.study.verdict import verdict

GATE_METRICS = ("N@10", "MRR@20")
SHOWN = ("R@5", "R@10", "R@20", "N@10", "MRR@20")
CANDIDATE = "with_intents"
WITHOUT = "without_intents"
CONTROLS = ("backbone", WITHOUT, "with_intents", "shuffled_intents")
MIXED = "weights of the sources, out of fold"
Say = Callable[[str], None]


@dataclass(frozen=True)
class QualityRow:
    """One line of the table.

    Attributes
    ----------
    name, role : str
        For people, and for programs (``popularity``, ``markov``, ..., ``backbone``, ``with_intents``,
        ``shuffled_intents``).
    metrics, other : Metrics
        Under the report's rule about seen items, and under the other one.
    seconds : float
        Fitting and scoring.
    chosen : str
        What was chosen on validation for it; empty = nothing.
    """

    name: str
    role: str
    metrics: Metrics
    other: Metrics
    seconds: float
    chosen: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "name": self.name,
            "role": self.role,
            "seconds": round(self.seconds, 2),
            "chosen": self.chosen,
            "metrics": self.metrics.to_dict(),
            "metrics_other_rule": self.other.to_dict(),
        }


@dataclass(frozen=True)
class QualityReport:
    """The table, the model it is about, and what must be said of both.

    Attributes
    ----------
    seen : str
        Rule of ``rows``: ``removed`` or ``kept``; the other rule's figures stand beside them in JSON and are
        never mixed in.
    candidate : Trained
        What gets saved.
    warnings : tuple of str
        One line for each metric of the gate on which the model is below the best baseline.
    slices : dict
        Metrics of the candidate by kind of case.
    """

    dataset: Dataset
    rows: list[QualityRow]
    candidate: Trained
    seen: Seen
    ranks: dict[str, np.ndarray]
    warnings: tuple[str, ...]
    slices: dict[str, Any] = field(default_factory=dict)

    @property
    def history(self) -> list[dict[str, float]]:
        """Lines of the candidate's training, one an epoch."""
        return self.candidate.history

    def row(self, role: str) -> QualityRow:
        """Return the row of a role; raises ``KeyError`` when the report has none."""
        for row in self.rows:
            if row.role == role:
                return row
        raise KeyError(
            f"the quality report has no row '{role}'; it has {', '.join(row.role for row in self.rows)}"
        )

    def difference(self, role: str, other: str) -> Metrics:
        """Return the paired difference of two rows on the test cases, first minus second."""
        return difference(self.ranks[role], self.ranks[other], self.dataset.test.prefixes.session_ids)

    def proven_below(self) -> tuple[str, ...]:
        """Return a line for each metric of the gate on which the best baseline is proven better: the whole
        interval of the paired difference is below 0.
        """
        found = []
        for metric in GATE_METRICS if CANDIDATE in self.ranks else ():
            other = best_baseline(self.rows, metric)
            gap = self.difference(CANDIDATE, other)[metric] if other else None
            if gap is not None and gap.high < 0:
                found.append(
                    f"{metric}: the model minus {self.row(other).name} is {gap}, below 0 beyond chance; the "
                    "gate does not let it pass."
                )
        return tuple(found)

    def verdicts(self) -> tuple[str, ...]:
        """Say for each metric of the gate how the model compares with its best baseline, and with itself
        without intents.
        """
        found = []
        for metric in GATE_METRICS if CANDIDATE in self.ranks else ():
            best = best_baseline(self.rows, metric)
            others = [(best, "best baseline, ")] if best else []
            others += [(WITHOUT, "")] if WITHOUT in self.ranks else []
            found += [
                verdict("model", said + self.row(role).name, metric, self.difference(CANDIDATE, role)[metric])
                for role, said in others
            ]
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        roles = {row.role for row in self.rows}
        leaders = [best_baseline(self.rows, metric) for metric in GATE_METRICS]
        compared = [
            role for role in dict.fromkeys([*CONTROLS, *leaders]) if role in roles and role != CANDIDATE
        ]
        below = self.proven_below()
        return {
            "dataset": self.dataset.name,
            "protocol": self.dataset.protocol,
            "test_cases": len(self.dataset.test),
            "seen": self.seen,
            "rows": [row.to_dict() for row in self.rows],
            "warnings": list(self.warnings),
            "warning": " ".join(self.warnings),
            "verdicts": list(self.verdicts()),
            "best_baseline": leaders[0],
            "proven_below": list(below),
            "passes": not below,
            "differences": {
                f"{CANDIDATE} - {role}": self.difference(CANDIDATE, role).to_dict() for role in compared
            },
            "weights": {} if self.candidate.hybrid is None else self.candidate.hybrid.weights,
            "slices": self.slices,
            "tuning": [asdict(trial) for trial in self.candidate.trials],
            "history": self.history,
            "notes": list(self.dataset.notes),
        }

    def markdown(self) -> str:
        """Return the table with its conditions and warnings as Markdown."""
        lines = [
            f"{self.dataset.name}, {self.dataset.protocol}: {len(self.dataset.test):,} test cases, all "
            f"{len(self.dataset.catalogue):,} items ranked, seen items {self.seen}, ties against the model, "
            "misses 0; mean and 95 % bootstrap interval over sessions.",
            "",
            "| | " + " | ".join(SHOWN) + " |",
            "|---" * (len(SHOWN) + 1) + "|",
        ]
        for row in self.rows:
            cells = (row.name, *(str(row.metrics[name]) for name in SHOWN))
            lines.append(f"| {' | '.join(cells)} |")
        chosen = "; ".join(f"{row.name}: {row.chosen}" for row in self.rows if row.chosen)
        lines += [f"\nChosen on validation. {chosen}."] if chosen else []
        lines += [f"\n{text}." for text in self.verdicts()]
        return "\n".join([*lines, *(f"\n**Warning.** {text}" for text in self.warnings)])


def worth(mean: float | None) -> float:
    """Return what a row is sorted by; rows that were not measured come last."""
    return -1.0 if mean is None or mean != mean else mean


def best_baseline(rows: Sequence[QualityRow], metric: str) -> str:
    """Return the role of the baseline with the highest mean; empty when there is none."""
    others = [row for row in rows if row.role not in CONTROLS]
    return max(others, key=lambda row: row.metrics[metric].mean).role if others else ""


def quality_table(
    dataset: Dataset,
    config: ModelConfig,
    *,
    progress: Say | None = None,
    controls: bool = True,
    samples: int = 1000,
    ease: bool | None = None,
) -> QualityReport:
    """Train a model and measure it beside every baseline and control, on the same cases, once.

    Parameters
    ----------
    dataset : Dataset
    config : ModelConfig
        The network is trained once; with ``fusion='paper'`` a second time without texts in the gates, for the
        row `backbone`.
    progress : callable, optional
        Hears one line a stage.
    controls : bool
        Whether `backbone`, `without_intents` and `shuffled_intents` are measured.
    samples : int
        Bootstrap samples.
    ease : bool, optional
        As in ``baselines``.

    Returns
    -------
    QualityReport
    """
    say = progress or (lambda text: None)
    seen = default_seen(dataset) if config.remove_seen is None else SEEN[not config.remove_seen]
    measured = _Table(dataset, seen, samples, say)
    for baseline in baselines(dataset, ease=ease):
        started = time.perf_counter()
        measured.add(baseline.role, baseline.fit(dataset), started, baseline.chosen)
    started = time.perf_counter()
    measured.add(
        "no-training-blend",
        Hybrid.fit(dataset, None, config).ranker(None, "no-training blend"),
        started,
        MIXED,
    )
    say(f"training {config.backbone}, fusion {config.fusion}")
    started = time.perf_counter()
    trained = train(dataset, config)
    say(f"trained in {trained.seconds:.0f} s, best epoch {trained.best_epoch}")
    candidate = measured.add(
        CANDIDATE, Named(Scorer.of(trained), described(trained)), started, f"best epoch; {MIXED}"
    )
    if controls:
        _add_controls(measured, dataset, trained)
    order = sorted(measured.rows, key=lambda row: worth(row.metrics[GATE_METRICS[0]].mean), reverse=True)
    slices = sliced(candidate, dataset.item_counts, seen) if len(dataset.test) else {}
    return QualityReport(dataset, order, trained, seen, measured.ranks, warnings(order), slices)


def _add_controls(measured: _Table, dataset: Dataset, trained: Trained) -> None:
    """Measure the network alone, the mix without intents, and the model with the intents of other cases."""
    config = trained.config  # what was chosen, where there was time to tune
    name = config.backbone
    started = time.perf_counter()
    if config.fusion == "paper":
        alone = train(dataset, config.model_copy(update={"fusion": "none"}))
        measured.add("backbone", Named(Scorer.of(alone), f"{name} alone"), started)
    else:
        measured.add("backbone", Named(Scorer.of(replace(trained, hybrid=None)), f"{name} alone"), started)
    started = time.perf_counter()
    hybrid = trained.hybrid
    if hybrid is not None and "intents" in hybrid.parts and len(hybrid.weights) > 1:
        without = Scorer.of(replace(trained, hybrid=hybrid.without("intents")))
        measured.add("without_intents", Named(without, f"{name}, all parts but intents"), started)
    started = time.perf_counter()
    reads = config.fusion == "paper" or (hybrid is not None and "intents" in hybrid.parts)
    shuffled = "the same with shuffled intents" + (
        "" if reads else " (intents have no weight: nothing changes)"
    )
    measured.add("shuffled_intents", Shuffled(Scorer.of(trained), dataset.test, shuffled), started)


def described(trained: Trained) -> str:
    """Name what a model's score is made of, and what of it has no weight.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> hybrid = SimpleNamespace(weights={"network": 0.6, "titles": 0.4, "intents": 0.0})
    >>> described(SimpleNamespace(config=ModelConfig(), hybrid=hybrid))
    'sasrec + titles (no weight: intents)'
    """
    backbone = trained.config.backbone
    if trained.hybrid is None:
        return f"{backbone}, paper's fusion" if trained.config.fusion == "paper" else f"{backbone} alone"
    weights = {
        backbone if name == NETWORK else name: weight for name, weight in trained.hybrid.weights.items()
    }
    silent = ", ".join(name for name, weight in weights.items() if not weight)
    return " + ".join(name for name, weight in weights.items() if weight) + (
        f" (no weight: {silent})" if silent else ""
    )


def warnings(rows: Sequence[QualityRow]) -> tuple[str, ...]:
    """Return a line for each metric of the gate on which the candidate's mean is below the best
    baseline's.
    """
    found = []
    own = next((row for row in rows if row.role == CANDIDATE), None)
    for metric in GATE_METRICS if own is not None else ():
        best = next((row for row in rows if row.role == best_baseline(rows, metric)), None)
        if own is not None and best is not None and own.metrics[metric].mean < best.metrics[metric].mean:
            found.append(
                f"{metric}: the model ({own.metrics[metric]}) is below {best.name} ({best.metrics[metric]})."
            )
    return tuple(found)


@dataclass(frozen=True)
class Named:
    """A ranker under another name."""

    ranker: Ranker
    name: str

    def scores(self, cases: Cases) -> np.ndarray:
        """Return the ranker's scores."""
        return self.ranker.scores(cases)


class Shuffled:
    """A ranker that is given the intents of other test cases: the control that shows whether the intents'
    content matters.
    """

    def __init__(self, ranker: Ranker, cases: Cases, name: str, seed: int = 0) -> None:
        self.ranker, self.name = ranker, name
        order = np.random.default_rng(seed).permutation(len(cases))
        self.long = None if cases.long is None else cases.long[order]
        self.short = None if cases.short is None else cases.short[order]
        self.place = {case: place for place, case in enumerate(cases.ids)}

    def scores(self, cases: Cases) -> np.ndarray:
        """Return the scores with foreign intents."""
        places = np.array([self.place[case] for case in cases.ids], dtype=np.int64)
        long, short = (None if view is None else view[places] for view in (self.long, self.short))
        return self.ranker.scores(cases.with_intents(long, short))


class _Table:
    """Rows as they are measured."""

    def __init__(self, dataset: Dataset, seen: Seen, samples: int, say: Say) -> None:
        self.dataset, self.seen, self.samples, self.say = dataset, seen, samples, say
        self.rows: list[QualityRow] = []
        self.ranks: dict[str, np.ndarray] = {}

    def add(self, role: str, ranker: Ranker, started: float, chosen: str = "") -> Evaluation:
        """Measure a ranker on the test cases."""
        found = evaluate(ranker, self.dataset.test, lists=False)
        other: Seen = "kept" if self.seen == "removed" else "removed"
        row = QualityRow(
            ranker.name,
            role,
            found.metrics(self.seen, samples=self.samples),
            found.metrics(other, samples=self.samples),
            time.perf_counter() - started,
            chosen,
        )
        self.rows.append(row)
        self.ranks[role] = found.ranking(self.seen).ranks
        self.say(
            f"{row.name}: N@10 {row.metrics['N@10']}, MRR@20 {row.metrics['MRR@20']} ({row.seconds:.1f} s)"
        )
        return found
