"""Odd and broken data through the whole way: folder, training, judgement, model folder, answer. A right
result or one clear line.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_repo.contract.settings import Settings
from model.config import make_config
from model.data.catalogue import Catalogue
from model.data.folder import load_folder
from model.data.sequences import Sequences
from model.data.splits import Dataset, leave_one_out
from model.evaluate.judge import evaluate
from model.recommender import artifact
from model.recommender.recommender import Scorer, ScoreRequest
from model.recommender.train import train
from model.study.benchmark import Outcome, run

QUICK = {"dim": 8, "epochs": 1, "batch_size": 16}
HEADER = "session_id,item_id,event_time\n"


def clicks(*sessions: str) -> str:
    """Rows of sessions such as ``"a b c"``, a minute between clicks."""
    rows = [
        f"s{number},{item},{1_600_000_000 + 60 * step}"
        for number, items in enumerate(sessions)
        for step, item in enumerate(items.split())
    ]
    return HEADER + "\n".join(rows) + "\n"


def benchmarked(folder: Path, files: dict[str, str], **settings: Any) -> Outcome:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return run(
        Settings(home=folder / "home"),
        folder,
        make_config({**QUICK, "text": False, **settings}),
        folder / "out",
        source="none",
    )


def test_one_session_is_trained_on_or_refused_in_one_line(tmp_path: Path) -> None:
    found = benchmarked(tmp_path / "d", {"clicks.csv": clicks("a b c d e")})
    assert found.metrics["test_cases"] == 1
    assert len(artifact.load(tmp_path / "d" / "out" / "model").score([ScoreRequest(["a"])], 10)[0].items) == 4


def test_sessions_of_one_item_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises((ValueError, RuntimeError), match="session"):
        benchmarked(tmp_path / "d", {"clicks.csv": clicks("a", "b", "c", "a")})


def test_sessions_of_one_item_beside_others_are_passed_over(tmp_path: Path) -> None:
    found = benchmarked(tmp_path / "d", {"clicks.csv": clicks("a", *["a b c d"] * 5, "b")})
    assert found.metrics["test_cases"] == 5


def test_an_item_that_is_only_in_test_is_a_miss_and_can_be_asked_about(tmp_path: Path) -> None:
    files = {"clicks.csv": clicks(*["a b c d", "b c d e"] * 6), "clicks_test.csv": clicks("a new", "b c")}
    found = benchmarked(tmp_path / "d", files)
    assert found.metrics["test_cases"] == 2
    assert found.metrics["model"]["seen_kept"]["metrics"]["R@5"]["mean"] <= 1.0
    scorer = artifact.load(tmp_path / "d" / "out" / "model")
    assert "new" in scorer.item_ids
    assert scorer.score([ScoreRequest(["new"])], 3)[0].items


def test_two_items_in_all(tmp_path: Path) -> None:
    found = benchmarked(tmp_path / "d", {"clicks.csv": clicks(*["a b a b", "b a b a"] * 4)})
    assert found.metrics["model"]["seen_kept"]["metrics"]["R@5"]["mean"] == 1.0
    assert artifact.load(tmp_path / "d" / "out" / "model").score([ScoreRequest(["a"])], 20)[0].items == ("b",)


def test_k_above_the_catalogue_gives_all_there_is(tmp_path: Path) -> None:
    benchmarked(tmp_path / "d", {"clicks.csv": clicks(*["a b c d"] * 6)})
    answer = artifact.load(tmp_path / "d" / "out" / "model").score([ScoreRequest(["a", "b"])], 10_000)[0]
    assert sorted(answer.items) == ["c", "d"]


def test_unsorted_times_and_doubled_clicks_change_nothing(tmp_path: Path) -> None:
    text = clicks(*["a b c d", "b c d a", "c d a b"] * 4)
    head, *rows = text.splitlines()
    backwards = [row for start in range(0, len(rows), 4) for row in reversed(rows[start : start + 4])]
    mixed = "\n".join([head, *backwards, *rows[:4]]) + "\n"
    found = benchmarked(tmp_path / "odd", {"clicks.csv": mixed})
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "clicks.csv").write_text(text, encoding="utf-8")
    plain, odd = load_folder(tmp_path / "plain"), load_folder(tmp_path / "odd")
    sessions = [
        {
            name: [data.catalogue.item_ids[item] for item in items]
            for name, items in zip(data.train.session_ids, data.train, strict=True)
        }
        for data in (plain, odd)
    ]
    assert sessions[0] == sessions[1]
    assert found.metrics["test_cases"] == len(plain.test)


def walks(items: int, vectors: np.ndarray | None) -> Dataset:
    random = np.random.default_rng(1)
    parts = leave_one_out(
        Sequences.of([((int(start) + np.arange(6)) % 40).tolist() for start in random.integers(0, 40, 60)])
    )
    catalogue = Catalogue(
        [f"ü {item}" for item in range(items)],
        [f"thing {item}" if item % 2 else "" for item in range(items)],
        [""] * items,
        vectors,
    )
    return Dataset(
        "walks",
        "leave-one-out",
        catalogue,
        parts.train,
        parts.valid,
        parts.test,
        validation_sequences=parts.validation_sequences,
    )


def test_half_the_catalogue_without_titles(tmp_path: Path) -> None:
    vectors = np.random.default_rng(2).normal(size=(40, 12)).astype(np.float32)
    vectors[::2] = 0.0
    trained = train(walks(40, vectors), make_config(QUICK))
    assert np.isfinite(
        evaluate(Scorer.of(trained), walks(40, vectors).test).metrics("removed", samples=0)["N@10"].mean
    )
    answer = Scorer.of(trained).score([ScoreRequest(["ü 4", "ü 5"])], 38)[0]
    assert len(answer.items) == 38 and np.isfinite(answer.scores).all()


def test_nan_in_item_vectors_is_refused_before_training() -> None:
    vectors = np.ones((40, 12), np.float32)
    vectors[3, 5] = np.nan
    with pytest.raises(ValueError, match="NaN|finite"):
        train(walks(40, vectors), make_config(QUICK))


def test_three_million_items_are_trained_and_ranked() -> None:
    small = walks(40, None)
    items = 3_000_000
    names = [str(item) for item in range(items)]
    nothing = [""] * items
    some = np.arange(20)  # more than are scored at a time
    data = replace(
        small,
        catalogue=Catalogue(names, nothing, nothing, None),
        valid=small.valid.select(some),
        test=small.test.select(some),
    )
    trained = train(data, make_config({"dim": 4, "epochs": 1, "negatives": 64, "parts": ["transitions"]}))
    assert trained.hybrid is not None
    scorer = Scorer.of(trained)
    answer = scorer.score([ScoreRequest(["7", "8"])], 5)[0]
    assert len(answer.items) == 5
    judged = evaluate(scorer, data.test)
    assert 0 < judged.metrics("removed", samples=0)["R@20"].mean <= 1
    assert judged.removed.top[judged.removed.top >= 0].max() < items
    assert all(int(item) < 40 for item in answer.items)  # nothing is known of the others


def test_a_folder_of_nothing_but_refused_rows_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text(HEADER + "s1,,1600000000\n", encoding="utf-8")
    with pytest.raises(ValueError, match="clicks") as error:
        load_folder(tmp_path)
    assert "\n" not in str(error.value)
