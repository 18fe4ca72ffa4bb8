"""The studies: every section runs, a second run measures nothing again, and signal is found where there is
signal.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from model.__main__ import main
from model.config import make_config
from model.data.catalogue import Catalogue
from model.data.sequences import Sequences
from model.data.splits import Dataset, leave_one_out
from model.recommender.train import train
from model.study.controls import attached, grounded, groundings, sources, views
from model.study.report import verdicts, write_report
from model.study.study import SECTIONS, run_sections
from model.study.variants import Study

ITEMS = 24
CONFIG = make_config({"dim": 8, "epochs": 1, "batch_size": 32, "max_length": 8, "backbone": "gru4rec"})


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    sessions = [[(start + step * step) % ITEMS for step in range(5)] for start in rng.integers(0, ITEMS, 60)]
    parts = leave_one_out(Sequences.of(sessions))
    vectors = rng.normal(size=(ITEMS, 16)).astype(np.float32)
    catalogue = Catalogue(
        [str(place) for place in range(ITEMS)],
        [f"thing {place}" for place in range(ITEMS)],
        [""] * ITEMS,
        vectors,
    )
    return Dataset(
        "toy",
        "leave-one-out",
        catalogue,
        parts.train,
        parts.valid,
        parts.test,
        validation_sequences=parts.validation_sequences,
    )


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    study = Study(dataset, CONFIG, out)
    run_sections(study, SECTIONS, ["gru4rec"], [1, 2])
    return study, write_report(study, out), out


def test_every_section_is_in_the_report_with_a_plot(finished):
    study, file, out = finished
    text = file.read_text(encoding="utf-8")
    assert {row.section for row in study.rows} == set(SECTIONS)
    for section in SECTIONS:
        assert f"({section}.png)" in text
        assert (out / f"{section}.png").stat().st_size > 1000
    assert text.count("Intents by the encoder; no language model is asked.") == 2
    assert "| neutral: mean of titles (no prompt; source is the encoder) |" in text
    body = json.loads((out / "study.json").read_text(encoding="utf-8"))
    assert len(body["rows"]) == len(study.rows) == 3 + 4 + 4 + 6 + 6 + 2


def test_an_oracle_is_proven_better_than_none_and_random_vectors_are_not(finished):
    gaps = {gap["name"]: gap for gap in finished[0].differences() if gap["section"] == "sources"}
    oracle = gaps["oracle: the target's title with noise"]
    assert oracle["proven"]
    assert oracle["metrics"]["N@10"]["mean"] > 0
    assert gaps["control: random vectors"]["metrics"]["N@10"]["mean"] < oracle["metrics"]["N@10"]["mean"] / 2


def test_a_second_run_trains_nothing(finished, dataset, monkeypatch):
    again = Study(dataset, CONFIG, finished[2])
    monkeypatch.setattr(Study, "trained", lambda *_: pytest.fail("trained again"))
    run_sections(again, SECTIONS, ["gru4rec"], [1, 2])
    assert [row.body for row in again.rows] == [row.body for row in finished[0].rows]


def test_other_settings_are_measured_anew(finished, dataset):
    other = Study(dataset, CONFIG.model_copy(update={"dim": 4}), finished[2])
    called = []
    with pytest.raises(StopIteration):
        other.run("seeds", "seed 1", lambda: called.append(1) or next(iter(())))
    assert called


def test_grounding_on_one_item_gives_its_title():
    titles = np.eye(3, dtype=np.float32)
    query = np.array([[0.9, 0.1, 0.0]], dtype=np.float32)
    assert grounded(query, titles, 1).tolist() == [[1, 0, 0]]
    assert grounded(query, titles, 0) is query


def test_intents_are_unit_rows_of_the_title_space(dataset):
    for table in (sources(dataset), views(dataset), groundings(dataset)):
        for variant in table.values():
            for view in variant(dataset.test):
                assert view is None or np.allclose(np.linalg.norm(view, axis=1), 1, atol=1e-4)


def test_shuffled_intents_are_those_of_other_cases(dataset):
    table = sources(dataset)
    right = attached(dataset, table["encoder (recency-weighted titles)"]).test.long
    wrong = attached(dataset, table["control: intents of other sessions"]).test.long
    assert sorted(map(tuple, right.round(4).tolist())) == sorted(map(tuple, wrong.round(4).tolist()))
    assert not np.allclose(right, wrong)


def test_stored_intents_are_a_source_of_their_own(dataset):
    stored = attached(dataset, views(dataset)["neutral: mean of titles (no prompt; source is the encoder)"])
    stored = attached(stored, lambda cases: (cases.long, cases.long))
    table = sources(stored, stored="llm")
    assert np.array_equal(table["llm"](stored.test)[0], stored.test.long)
    foreign = table["control: llm, of other sessions"](stored.test)[0]
    assert not np.allclose(foreign, stored.test.long)
    assert np.allclose(np.sort(foreign, axis=0), np.sort(stored.test.long, axis=0))
    assert "llm" not in sources(stored, stored="")


@pytest.mark.parametrize(
    ("words", "source", "stored"),
    [([], "encoder", ""), (["--intents", "llm"], "llm", "llm"), (["--intents", "none"], "none", "")],
)
def test_the_source_of_the_intents_is_chosen(words, source, stored, dataset, tmp_path, monkeypatch):
    from model.study import study as module

    asked = []
    monkeypatch.setattr(module, "prepare", lambda *given: asked.append(given[4]) or (dataset, ""))
    monkeypatch.setattr(
        module,
        "run_sections",
        lambda study, *_: asked.extend([study.stored, study.answers and study.answers.source]),
    )
    assert main(["study", str(tmp_path), "--out", str(tmp_path / "out"), *words]) == 0
    assert asked == [source, stored, stored or None]


def test_verdicts_say_what_is_not_proven():
    def gap(mean, low, high):
        return {
            "name": "a",
            "reference": "b",
            "proven": low > 0 or high < 0,
            "metrics": {"N@10": {"mean": mean, "low": low, "high": high}},
        }

    lines = verdicts([gap(0.01, 0.005, 0.02), gap(-0.01, -0.02, -0.005), gap(0.01, -0.01, 0.03)])
    assert [line.rsplit(", ", 1)[1] for line in lines] == ["proven better.", "proven worse.", "not proven."]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "--out", "x"], "dataset folder 'nowhere' does not exist"),
        (["nowhere", "--out", "x", "--sections", "all"], "section 'all' is unknown"),
        (["nowhere", "--out", "x", "--set", "epochs"], "expected KEY=VALUE"),
        (["nowhere", "--out", "x", "--set", "epochs=0"], "epochs"),
    ],
)
def test_bad_input_is_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["study", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_a_network_is_trained_once_for_none_and_intent(dataset, tmp_path, monkeypatch):
    from model.study import variants as module

    made = []
    monkeypatch.setattr(
        module, "train", lambda data, config: made.append(config.fusion) or train(data, config)
    )
    study = Study(dataset, CONFIG, tmp_path)
    none, _, intent = (
        study.trained(CONFIG.model_copy(update={"fusion": fusion})) for fusion in ("none", "paper", "intent")
    )
    assert made == ["none", "paper"]
    assert intent.hybrid is not None and none.hybrid is None
    alone = train(dataset, CONFIG)  # the fusion `intent` trained by itself
    assert np.array_equal(alone.network.residual.weight.numpy(), intent.network.residual.weight.numpy())
    assert alone.hybrid is not None and alone.hybrid.weights == intent.hybrid.weights
