"""The quality table: all rows on the same cases, controls, warnings, plain JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from model.config import make_config
from model.data.catalogue import Catalogue
from model.data.sequences import Sequences
from model.data.splits import Dataset, leave_one_out
from model.evaluate.judge import evaluate
from model.evaluate.metrics import measure
from model.evaluate.slices import masks
from model.recommender.recommender import Scorer
from model.recommender.train import train
from model.study.benchmark import with_and_without
from model.study.quality import QualityReport, QualityRow, Shuffled, best_baseline, quality_table, warnings

ITEMS = 20


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    parts = leave_one_out(
        Sequences.of([[(start + step) % ITEMS for step in range(5)] for start in rng.integers(0, ITEMS, 60)])
    )
    vectors = rng.normal(size=(ITEMS, 8)).astype(np.float32)
    catalogue = Catalogue(
        [str(place) for place in range(ITEMS)],
        [f"thing {place}" for place in range(ITEMS)],
        [""] * ITEMS,
        vectors,
    )
    valid, test = (
        cases.with_intents(vectors[cases.targets], vectors[cases.targets])
        for cases in (parts.valid, parts.test)
    )
    return Dataset(
        "toy",
        "leave-one-out",
        catalogue,
        parts.train,
        valid,
        test,
        validation_sequences=parts.validation_sequences,
    )


@pytest.fixture(scope="module")
def report(dataset):
    heard: list[str] = []
    made = quality_table(
        dataset,
        make_config({"dim": 8, "epochs": 2, "batch_size": 32, "max_length": 8}),
        progress=heard.append,
        samples=50,
    )
    assert len(heard) >= len(made.rows)
    return made


def test_all_roles_are_measured_on_all_cases(report, dataset):
    roles = [row.role for row in report.rows]
    for role in (
        "popularity",
        "markov",
        "v-sknn",
        "stan",
        "ease",
        "title-knn",
        "no-training-blend",
        "backbone",
        "with_intents",
        "shuffled_intents",
    ):
        assert role in roles
    assert len(set(roles)) == len(roles)
    assert {row.metrics.cases for row in report.rows} == {len(dataset.test)}
    assert report.seen == "removed"


def test_report_is_plain_json_with_differences_slices_and_history(report):
    body = json.loads(json.dumps(report.to_dict()))
    assert body["rows"][0]["metrics"]["metrics"]["N@10"].keys() == {"mean", "low", "high"}
    assert "with_intents - backbone" in body["differences"]
    assert body["history"][0]["epoch"] == 1
    assert "new item" in body["slices"]


def test_rows_stand_best_first(report):
    means = [row.metrics["N@10"].mean for row in report.rows]
    assert means == sorted(means, reverse=True)


def test_verdict_names_the_best_baseline_and_the_model_without_intents(report):
    best = report.row(best_baseline(report.rows, "N@10")).name
    lines = report.verdicts()
    gap = report.difference("with_intents", best_baseline(report.rows, "N@10"))["N@10"]
    assert lines[0].startswith(f"model against best baseline, {best}: N@10 {gap.mean:+.4f}")
    assert lines[0].endswith("proven" if gap.low > 0 else "proven worse" if gap.high < 0 else "not proven")
    assert any("all parts but intents" in line for line in lines) == ("without_intents" in report.ranks)
    assert all(line in report.markdown() for line in lines) and report.to_dict()["verdicts"] == list(lines)


def test_markdown_names_rule_cases_and_every_row(report, dataset):
    text = report.markdown()
    assert f"{len(dataset.test)} test cases" in text
    assert "seen items removed" in text
    assert all(row.name in text for row in report.rows)


def test_difference_with_itself_is_nothing(report):
    assert report.difference("with_intents", "with_intents")["N@10"].mean == 0


def test_benchmark_judges_the_model_without_its_intents_on_the_same_cases(dataset):
    walks = np.random.default_rng(1).permuted(np.tile(np.arange(ITEMS), (60, 1)), axis=1)[:, :5]
    parts = leave_one_out(Sequences.of(walks.tolist()))  # by chance: the intents alone know the target
    vectors = dataset.catalogue.vectors
    valid, test = (
        cases.with_intents(vectors[cases.targets], vectors[cases.targets])
        for cases in (parts.valid, parts.test)
    )
    random = replace(dataset, train=parts.train, valid=valid, test=test)
    trained = train(random, make_config({"dim": 8, "epochs": 1, "max_length": 8, "parts": '["intents"]'}))
    own = evaluate(Scorer.of(trained), random.test)
    found = with_and_without(trained, random, own, "removed")
    gap, other = found["difference"]["metrics"]["N@10"], found["without"]["seen_removed"]["metrics"]["N@10"]
    assert gap["mean"] == pytest.approx(own.metrics("removed")["N@10"].mean - other["mean"])
    assert gap["low"] > 0
    assert found["line"].startswith(f"with intents against without: N@10 {gap['mean']:+.4f}")
    assert "proven" in found["line"] and "not proven" not in found["line"]


def test_unknown_role_is_named(report):
    with pytest.raises(KeyError, match="no row 'oracle'"):
        report.row("oracle")


def row(role, rank):
    metrics = measure(np.array([rank] * 5), list("abcde"), samples=0)
    return QualityRow(role, role, metrics, metrics, 0.0)


def test_a_model_below_the_best_baseline_is_warned_of():
    rows = [row("popularity", 5), row("stan", 2), row("backbone", 1), row("with_intents", 3)]
    assert best_baseline(rows, "N@10") == "stan"
    found = warnings(rows)
    assert len(found) == 2
    assert "below stan" in found[0]
    assert warnings([row("popularity", 5), row("with_intents", 3)]) == ()


@pytest.mark.parametrize(("worse_on", "proven"), [(1, False), (40, True)])
def test_only_a_proven_worse_model_does_not_pass(dataset, worse_on, proven):
    cases = len(dataset.test)
    ranks = {"popularity": np.full(cases, 5), "stan": np.full(cases, 2), "with_intents": np.full(cases, 2)}
    ranks["with_intents"][:worse_on] = 9
    rows = [
        QualityRow(role, role, *[measure(found, dataset.test.prefixes.session_ids, samples=50)] * 2, 0.0)
        for role, found in ranks.items()
    ]
    made = QualityReport(
        dataset, rows, SimpleNamespace(hybrid=None, history=[], trials=()), "removed", ranks, warnings(rows)
    )
    body = made.to_dict()
    assert len(body["warnings"]) == 2  # the mean is below in both cases
    assert (len(body["proven_below"]), body["passes"]) == ((2, False) if proven else (0, True))
    assert "with_intents - stan" in body["differences"]


def test_rows_are_named_after_what_has_weight(report):
    name = report.row("with_intents").name
    weights = report.candidate.hybrid.weights
    assert all(
        (part in name.split(" (no weight")[0]) == (weight > 0)
        for part, weight in weights.items()
        if part != "network"
    )
    shuffled = report.row("shuffled_intents").name
    assert ("no weight" in shuffled) == (weights.get("intents", 0.0) == 0)


def test_shuffled_control_keeps_prefixes_and_changes_intents(dataset):
    asked = []

    class Spy:
        name = "spy"

        def scores(self, cases):
            asked.append(cases)
            return np.zeros((len(cases), ITEMS))

    evaluate(Shuffled(Spy(), dataset.test, "shuffled"), dataset.test, batch=7)
    long = np.concatenate([cases.long for cases in asked])
    assert not np.allclose(long, dataset.test.long)
    assert np.allclose(np.sort(long, axis=0), np.sort(dataset.test.long, axis=0))
    assert [case for cases in asked for case in cases.ids] == dataset.test.ids


def test_slices_cover_every_case_once(dataset):
    found = masks(dataset.test, dataset.item_counts)
    for group in (("target cold (no click in training)", "target warm"), ("new item", "repeated item")):
        assert sum(found[name].sum() for name in group) == len(dataset.test)
    assert sum(mask.sum() for name, mask in found.items() if name.startswith("prefix of")) == len(
        dataset.test
    )
