"""The command line: a dataset folder goes in, files come out, and bad input ends with one clear line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic

from feature_repo.contract import cli
from model.__main__ import app, config_of, main
from model.recommender import artifact

QUICK = ["--epochs", "1", "--dim", "8", "--set", "batch_size=32"]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTENTSTORE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset folder without titles, ids with spaces and Unicode."""
    made = tmp_path / "data"
    made.mkdir()
    data = synthetic.dataset()
    rows = ["session_id,item_id,event_time"]
    for place, session in enumerate(data.train):
        rows += [
            f"s {place},\u00fc {item},{1_600_000_000 + 60 * step}"
            for step, item in enumerate(session.tolist())
        ]
    (made / "clicks.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return made


def test_benchmark_writes_predictions_metrics_and_a_model(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["benchmark", str(folder), "--protocol", "leave-one-out", "--out", str(out), *QUICK]) == 0
    lines = [
        json.loads(line) for line in (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    metrics = json.loads((out / "metrics.json").read_text())
    assert len(lines) == metrics["test_cases"] > 50
    assert all(len(line["items"]) == 20 for line in lines)
    ranks = np.array(
        [line["items"].index(line["target"]) + 1 if line["target"] in line["items"] else 99 for line in lines]
    )
    assert np.mean(ranks <= 10) == pytest.approx(
        metrics["model"][metrics["predictions"]]["metrics"]["R@10"]["mean"]
    )
    assert "R@10" in capsys.readouterr().out
    assert artifact.load(out / "model").item_ids[0].startswith("\u00fc")


def test_baselines_stand_beside_the_model_with_a_warning_where_one_is_above_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    # one epoch: below the counts
    assert (
        main(["benchmark", str(folder), "--out", str(out), "--baselines", "--no-hybrid", "--refit", *QUICK])
        == 0
    )
    metrics, said = json.loads((out / "metrics.json").read_text()), " ".join(capsys.readouterr().out.split())
    roles = {
        "popularity",
        "last-item",
        "markov",
        "decayed-markov",
        "item-knn",
        "v-sknn",
        "stan",
        "ease",
        "no-training-blend",
    }
    assert set(metrics["baselines"]) == roles
    assert {found["seen_removed"]["cases"] for found in metrics["baselines"].values()} == {
        metrics["test_cases"]
    }
    assert len(metrics["warnings"]) == 2 and metrics["warnings"][0].startswith("N@10: the model")
    assert all(f"Warning. {line}" in said for line in metrics["warnings"])
    assert len(metrics["verdicts"]) == 2 and all(line in said for line in metrics["verdicts"])
    assert metrics["verdicts"][0].startswith("model against best baseline, ")
    assert "-0." in metrics["verdicts"][0]  # as the warning says
    assert metrics["intents"]["line"] in said
    assert metrics["refitted"] and "refit: trained once more on train + validation, for 1 epochs" in said


def test_results_hold_slices_and_curves(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    main(["benchmark", str(folder), "--out", str(out), *QUICK])
    metrics = json.loads((out / "metrics.json").read_text())
    slices = metrics["slices"]
    for first in ("target cold", "target clicked", "prefix of"):
        assert any(name.startswith(first) for name in slices)
    assert slices["new item"]["cases"] + slices["repeated item"]["cases"] == metrics["test_cases"]
    assert metrics["history"][0]["loss"] > 0 and (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_recommend_answers_from_the_shell(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["benchmark", str(folder), "--out", str(tmp_path / "out"), "--json", *QUICK])
    capsys.readouterr()
    assert (
        main(
            [
                "recommend",
                "--model",
                str(tmp_path / "out" / "model"),
                "--session",
                "\u00fc 3,news",
                "-k",
                "4",
                "--json",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert len(found["items"]) == 4 and found["unknown"] == ["news"] and found["items"][0]["reason"]
    assert sum(found["items"][0]["shares"].values()) == pytest.approx(1, abs=1e-4)


def test_recommend_takes_the_promoted_model_and_json_sessions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["benchmark", str(folder), "--out", str(tmp_path / "out"), *QUICK])
    artifact.promote(tmp_path / "out", "model")
    assert main(["recommend", "--model", str(tmp_path / "out"), "--session", '["\u00fc 3"]', "-k", "2"]) == 0
    said = capsys.readouterr().out
    assert "\u00fc " in said and "%" in said


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["benchmark", "nowhere", "--out", "o"], "nowhere"),
        (["benchmark", "data", "--out", "o", "--set", "warp=1"], "warp"),
        (["benchmark", "data", "--out", "o", "--set", "warp"], "KEY=VALUE"),
        (["benchmark", "data", "--out", "o", "--config", "no.toml"], "no.toml"),
        (["recommend", "--model", "nowhere", "--session", "a"], "nowhere"),
    ],
)
def test_bad_input_ends_with_one_line_and_code_two(
    arguments: list[str], named: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert named in error and "Traceback" not in error


def test_flags_beat_the_settings() -> None:
    words = ["d", "--out", "o", "--backbone", "srgnn", "--refit", "--set", "patience=7", "--no-text"]
    given = cli.command_of(app).commands["benchmark"].make_context("benchmark", words).params
    config = config_of(SimpleNamespace(**given), {"backbone": "stamp", "dim": 32})
    assert (config.backbone, config.dim, config.refit, config.patience, config.text) == (
        "srgnn",
        32,
        True,
        7,
        False,
    )


@pytest.mark.parametrize("command", ["benchmark", "recommend"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main([command, "--help"])
    assert done.value.code == 0 and command in capsys.readouterr().out


def _ended(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must fail; return its one line."""
    assert main(list(words)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    line = next(line for line in reversed(lines) if line.startswith("python -m model"))
    assert line == lines[-1] and "Traceback" not in "".join(lines)
    return line


@pytest.mark.parametrize(
    "session",
    ["[null]", "[1.5]", "[true]", '[["a"]]', '[{"item": "a"}]', '["a", ""]', "[", '["a"', "[]", "", " , "],
)
def test_a_session_that_is_none_is_one_line_with_the_remedy(
    session: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = _ended(capsys, "recommend", "--model", "nowhere", "--session", session)
    assert "--session" in line and "ITEM" in line


def test_a_test_without_a_case_is_one_line_and_null(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = [
        f"s{place},i{(place + step) % 6},{1_600_000_000 + 1000 * place + step}"
        for place in range(20)
        for step in range(4)
    ]
    (data / "clicks.csv").write_text("\n".join(["session_id,item_id,event_time", *rows]) + "\n")
    (data / "clicks_test.csv").write_text("session_id,item_id,event_time\nlone,i1,1700000000\n")
    assert main(["benchmark", str(data), "--out", str(tmp_path / "out"), "--baselines", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "no test case, so nothing was measured" in out and "0.0000" not in out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["test_cases"] == 0 and metrics["own_split"]
    assert metrics["model"]["seen_kept"]["metrics"]["N@10"] == {"mean": None, "low": None, "high": None}
    assert "nothing to compare" in _ended(capsys, "study", str(data), "--out", str(tmp_path / "study"))


@pytest.mark.parametrize("command", ["benchmark", "study"])
def test_too_many_refused_rows_stop_with_the_reasons(
    command: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "clicks.csv").open("a") as file:
        file.write("s 1,x,no time\n" * 60 + ",x,1600000000\n" * 90)
    line = _ended(capsys, command, str(folder), "--out", str(tmp_path / "out"))
    assert (
        "rows refused" in line
        and "90 x session_id ... is blank" in line
        and "60 x event_time ... is no timestamp" in line
    )
    assert "dataset.max_refused_share" in line and not (tmp_path / "out").exists()


def test_a_tolerated_share_goes_on_and_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "clicks.csv").open("a") as file:
        file.write("s 1,x,no time\n" * 150)
    monkeypatch.setenv("INTENTSTORE_DATASET__MAX_REFUSED_SHARE", "0.5")
    assert main(["benchmark", str(folder), "--out", str(tmp_path / "out"), *QUICK]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["refused"] == 150 and metrics["refused_by"] == {"event_time ... is no timestamp": 150}
    assert "150 rows refused, such as clicks.csv line" in capsys.readouterr().out


def test_a_gap_rule_that_somebody_set_is_the_benchmarks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from feature_repo.contract.settings import load_settings
    from model.study.benchmark import gap_rule

    assert gap_rule(load_settings(None, {}), None) is None
    found = gap_rule(load_settings(None, {"INTENTSTORE_SESSION__GAP_MINUTES": "30"}), None)
    assert found is not None and found.gap_minutes == 30
    assert gap_rule(load_settings(None, {"INTENTSTORE_SESSION__GAP_MINUTES": "none"}), None) is None
