"""`python -m model`: benchmark a dataset folder, recommend for one session, run the studies."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.contract.settings import load_settings
from model.config import BACKBONES, FUSIONS, ConfigError, ModelConfig, base_values, make_config
from model.messages import one_line

if TYPE_CHECKING:
    from rich.console import Console

STUDY = "study"
SHOWN_SHARE = 0.005  # of a score; smaller parts would read "0 %"


def parser() -> argparse.ArgumentParser:
    """Make the command line's parser."""
    root = argparse.ArgumentParser(
        prog="python -m model", description="Train, evaluate and ask recommendation models."
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    bench = commands.add_parser(
        "benchmark",
        help="train and evaluate on a dataset folder; writes predictions.jsonl, metrics.json and model/",
    )
    bench.add_argument(
        "dataset", type=Path, help="folder with clicks.* or sequences.txt, and optional items.*"
    )
    bench.add_argument(
        "--protocol",
        choices=("leave-one-out", "next-item"),
        help="default: next-item where the folder has split files, else leave-one-out",
    )
    bench.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for the results; a killed run goes on from its checkpoint",
    )
    bench.add_argument("--backbone", choices=BACKBONES)
    bench.add_argument(
        "--fusion",
        choices=FUSIONS,
        help=(
            "none = the backbone alone, paper = LLM4SBR's gates, intent = retrieval at score level (default)"
        ),
    )
    bench.add_argument(
        "--intents",
        choices=("encoder", "llm", "endpoint", "student", "none"),
        default="encoder",
        help="source of the cases' intents",
    )
    bench.add_argument(
        "--intent-calls",
        type=int,
        metavar="N",
        help="cases an LLM is asked about at most (default: intents.max_calls)",
    )
    bench.add_argument(
        "--no-text", action="store_true", help="trained ids only: items.* is not read by the network"
    )
    bench.add_argument(
        "--no-hybrid", action="store_true", help="the network alone, without transitions and retrieval"
    )
    bench.add_argument(
        "--tune",
        type=float,
        metavar="SECONDS",
        help="time for trying other settings on validation first (default 0: none); goes on after a kill",
    )
    again = bench.add_mutually_exclusive_group()
    again.add_argument(
        "--refit",
        action="store_true",
        help="train once more on train + validation before the test (the default)",
    )
    again.add_argument(
        "--no-refit",
        action="store_true",
        help="judge the model that never saw validation, as published protocols do",
    )
    bench.add_argument("--score", choices=("dot", "cosine"))
    bench.add_argument(
        "--gap-minutes",
        type=float,
        help="a longer pause starts a new session; default: session.gap_minutes where it is set",
    )
    for name, kind in (
        ("dim", int),
        ("epochs", int),
        ("batch-size", int),
        ("learning-rate", float),
        ("seed", int),
        ("threads", int),
    ):
        bench.add_argument(f"--{name}", type=kind)
    bench.add_argument("--device")
    bench.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other key of model.config.ModelConfig; lists as JSON",
    )
    bench.add_argument(
        "--config", type=Path, help="settings file (default: intentstore.toml where there is one)"
    )
    bench.add_argument("--baselines", action="store_true", help="judge every baseline on the same cases too")
    bench.add_argument("--json", action="store_true", help="print the metrics as one JSON line")
    ask = commands.add_parser("recommend", help="top items and intents for one session")
    ask.add_argument(
        "--model", type=Path, required=True, help="model folder, or a folder of models with a promoted one"
    )
    ask.add_argument(
        "--session",
        required=True,
        help="item ids, oldest first, separated by commas; or a JSON list of strings",
    )
    ask.add_argument("-k", type=int, default=10)
    ask.add_argument(
        "--config", type=Path, help="settings file (default: intentstore.toml where there is one)"
    )
    ask.add_argument("--json", action="store_true", help="print one JSON line")
    study = commands.add_parser(
        STUDY, help="the paper's tables and figures on a dataset folder (see `study --help`)", add_help=False
    )
    study.add_argument("rest", nargs=argparse.REMAINDER)
    return root


def config_of(arguments: argparse.Namespace, base: dict[str, Any]) -> ModelConfig:
    """Merge the settings' ``[model]`` section and the flags into a config; raises ``ConfigError``."""
    values = dict(base)
    for key in (
        "backbone",
        "fusion",
        "score",
        "dim",
        "epochs",
        "batch_size",
        "learning_rate",
        "tune",
        "seed",
        "threads",
        "device",
    ):
        if getattr(arguments, key) is not None:
            values[key] = getattr(arguments, key)
    for flag, key, value in (("no_text", "text", False), ("no_hybrid", "hybrid", False)):
        if getattr(arguments, flag):
            values[key] = value
    values["refit"] = arguments.refit or (
        bool(values.get("refit_before_serving", True)) and not arguments.no_refit
    )
    for pair in arguments.set:
        key, sign, text = pair.partition("=")
        if not sign:
            raise ConfigError(f"--set {pair}: expected KEY=VALUE, such as --set patience=5")
        values[key] = text  # its key's type says what it is
    return make_config(values)


def benchmark(arguments: argparse.Namespace) -> int:
    """Run `benchmark`."""
    from model.recommender.progress import shown
    from model.study.benchmark import gap_rule, run

    settings = load_settings(arguments.config, os.environ)
    if arguments.intent_calls is not None:
        settings = settings.model_copy(
            update={"intents": settings.intents.model_copy(update={"max_calls": arguments.intent_calls})}
        )
    config = config_of(arguments, base_values(settings))
    session = gap_rule(settings, arguments.gap_minutes)
    with shown() as progress:
        outcome = run(
            settings,
            arguments.dataset,
            config,
            arguments.out,
            protocol=arguments.protocol,
            source=arguments.intents,
            session=session,
            baselines=arguments.baselines,
            code_commit=_commit(),
            progress=progress,
        )
    if arguments.json:
        print(json.dumps(outcome.metrics, ensure_ascii=False))
        return 0
    _print_metrics(outcome.metrics, arguments.out)
    return 0


def _commit() -> str:
    """Commit of the checkout that this code is run from, empty outside of one."""
    import subprocess

    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git on this machine
        return ""


def _print_figures(metrics: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table(
        title=(
            f"{metrics['dataset']}, {metrics['protocol']}, {metrics['test_cases']} test cases, 95 % intervals"
        )
    )
    table.add_column("metric")
    for seen in ("removed", "kept"):
        table.add_column(f"seen items {seen}" + (" (first)" if metrics["seen_first"] == seen else ""))
    for name in metrics["model"]["seen_removed"]["metrics"]:
        cells = [metrics["model"][f"seen_{seen}"]["metrics"][name] for seen in ("removed", "kept")]
        table.add_row(
            name, *(f"{cell['mean']:.4f} [{cell['low']:.4f}, {cell['high']:.4f}]" for cell in cells)
        )
    console.print(table)
    for role, found in metrics.get("baselines", {}).items():
        cell = found[f"seen_{metrics['seen_first']}"]["metrics"]
        console.print(
            f"{role}: R@10 {cell['R@10']['mean']:.4f}, N@10 {cell['N@10']['mean']:.4f}, MRR@20 "
            f"{cell['MRR@20']['mean']:.4f}"
        )


def _print_metrics(metrics: dict[str, Any], out: Path) -> None:
    from rich.console import Console

    console = Console()
    if metrics["test_cases"]:
        _print_figures(metrics, console)
    else:
        console.print(
            (
                f"{metrics['dataset']}, {metrics['protocol']}: no test case, so nothing was measured; test "
                "sessions need two clicks"
            ),
            soft_wrap=True,
        )
    weights = (
        ", ".join(f"{name} {weight:.2f}" for name, weight in metrics["weights"].items()) or "network alone"
    )
    console.print(
        f"best epoch {metrics['best_epoch']}, {metrics['train_seconds']} s of training, "
        f"{metrics['peak_memory_mb']} MB at most; score = {weights}"
    )
    if metrics["tuning"]:
        tried = len({trial["place"] for trial in metrics["tuning"]})
        console.print(f"{tried} settings tried; all trials are in metrics.json, key tuning")
    if metrics["refitted"]:
        console.print(
            f"refit: trained once more on train + validation, for {metrics['best_epoch']} epochs; the "
            "figures are of that model"
        )
    for line in (metrics["intents"]["line"], *metrics.get("verdicts", [])):
        console.print(line, markup=False, soft_wrap=True)
    for warning in metrics.get("warnings", []):
        console.print(f"Warning. {warning}")
    for note in metrics["notes"]:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    console.print(f"written: {out}/predictions.jsonl, {out}/metrics.json, {out}/curves.png, {out}/model")


def recommend(arguments: argparse.Namespace) -> int:
    """Run `recommend`."""
    from model.recommender import artifact
    from model.recommender.answer import answer, read_session
    from model.recommender.loaded_model import load_model

    items = read_session(arguments.session)
    folder = artifact.promoted_dir(arguments.model) or arguments.model
    settings = load_settings(arguments.config, os.environ)
    model = load_model(settings, folder)
    found = answer(model, items[-settings.session.max_items :], arguments.k)
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    for view in ("long", "short"):
        print(f"{view} intent: {found['intents'][view]['text'] or '(no title known)'}")
    if found["unknown"]:
        print(f"not in the model: {', '.join(found['unknown'])}")
    for place, row in enumerate(found["items"], start=1):
        shares = ", ".join(
            f"{name} {share:.0%}" for name, share in row["shares"].items() if share >= SHOWN_SHARE
        )
        print(
            f"{place:3d}. {row['item_id']}  {row['title']}  ({row['score']:.4f}; "
            f"{row['reason']}{'; ' * bool(shares)}{shares})"
        )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)
    if words[:1] == [STUDY]:
        from model.study.study import main as study

        return int(study(words[1:]))
    arguments = parser().parse_args(words)
    try:
        return {"benchmark": benchmark, "recommend": recommend}[arguments.command](arguments)
    except Exception as error:  # noqa: BLE001
        # the last resort of an entry point: one line, of torch and the system too
        print(f"python -m model {arguments.command}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the checkpoint", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
