"""`python -m model`: benchmark a dataset folder, recommend for one session, run the studies. `intentstore`
has the same verbs out of this file: `train` (= benchmark), `recommend`, `study`.
"""

from __future__ import annotations

import json as json_text
import logging
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.contract import cli
from feature_repo.contract.lazy import lazy
from feature_repo.contract.version import code_commit
from model.kernels.store import keep_under
from model.messages import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from feature_repo.contract import settings as settings_module
    from feature_repo.contract.settings import Settings
    from model import config as model_config
    from model.config import ModelConfig
    from model.recommender import answer, artifact, loaded_model
    from model.recommender import progress as terminal
    from model.study import benchmark as bench
    from model.study import study as experiment
else:
    settings_module = lazy("feature_repo.contract.settings")
    model_config = lazy("model.config")
    answer = lazy("model.recommender.answer")
    artifact = lazy("model.recommender.artifact")
    loaded_model = lazy("model.recommender.loaded_model")
    terminal = lazy("model.recommender.progress")
    bench = lazy("model.study.benchmark")
    experiment = lazy("model.study.study")

SHOWN_SHARE = 0.005  # of a score; smaller parts would read "0 %"
FLAGS = (
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
)

app = cli.program("Train, evaluate and ask recommendation models.")
Gap = Annotated[
    float | None,
    typer.Option(
        "--gap-minutes",
        help="a longer pause starts a new session; default: session.gap_minutes where it is set",
    ),
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="any other key of model.config.ModelConfig; lists as JSON"
    ),
]


class Protocol(StrEnum):
    """How cases are cut from sessions."""

    leave_one_out = "leave-one-out"
    next_item = "next-item"


def _source(value: str) -> str:
    """Check the name of an intent source: one of ``intents.source``, or ``student``."""
    known = ("encoder", *settings_module.ASKED_SOURCES, "student", "none")
    if value not in known:
        raise typer.BadParameter(f"'{value}' is not one of {', '.join(known)}")
    return value


@app.command(
    "benchmark",
    help="train and evaluate on a dataset folder; writes predictions.jsonl, metrics.json and model/",
    epilog="Example: intentstore train data/shop --out runs/shop --epochs 10 --baselines",
)
def _benchmark(
    dataset: Annotated[
        Path, typer.Argument(help="folder with clicks.* or sequences.txt, and optional items.*")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="folder for the results; a killed run goes on from its checkpoint",
        ),
    ],
    protocol: Annotated[
        Protocol | None,
        typer.Option(
            "--protocol",
            help="default: next-item where the folder has split files, else leave-one-out",
        ),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="sasrec, srgnn, gcegnn, stamp, ...")
    ] = None,
    fusion: Annotated[
        str | None,
        typer.Option(
            "--fusion",
            metavar="none|paper|intent",
            help=(
                "none = the backbone alone, paper = LLM4SBR's gates, intent = retrieval at score level "
                "(default)"
            ),
        ),
    ] = None,
    intents: Annotated[
        str,
        typer.Option(
            "--intents",
            metavar="SOURCE",
            callback=_source,
            help="source of the cases' intents: one of intents.source, or student (default encoder)",
        ),
    ] = "encoder",
    intent_calls: Annotated[
        int | None,
        typer.Option(
            "--intent-calls",
            metavar="N",
            help="cases an LLM is asked about at most (default: intents.max_calls)",
        ),
    ] = None,
    no_text: Annotated[
        bool,
        typer.Option("--no-text", help="trained ids only: items.* is not read by the network"),
    ] = False,
    no_hybrid: Annotated[
        bool,
        typer.Option("--no-hybrid", help="the network alone, without transitions and retrieval"),
    ] = False,
    tune: Annotated[
        float | None,
        typer.Option(
            "--tune",
            metavar="SECONDS",
            help="time for trying other settings on validation first (default 0: none)",
        ),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="train once more on train + validation before the test (the default)"),
    ] = False,
    no_refit: Annotated[
        bool,
        typer.Option(
            "--no-refit",
            help="judge the model that never saw validation, as published protocols do",
        ),
    ] = False,
    score: Annotated[
        str | None, typer.Option("--score", metavar="dot|cosine", help="how vectors are compared")
    ] = None,
    gap_minutes: Gap = None,
    dim: Annotated[int | None, typer.Option("--dim", help="width of item vectors")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="at most")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="cases a step")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="of Adam")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="of all that is random")] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="of torch")] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, ...")] = None,
    pairs: Pairs = None,
    config: cli.Config = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="judge every baseline on the same cases too")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print the metrics as one JSON line")] = False,
) -> int:
    given = SimpleNamespace(**locals())
    if refit and no_refit:
        raise typer.BadParameter("--no-refit is not allowed with --refit")
    given.protocol = protocol and protocol.value
    return _guarded(benchmark, given)


@app.command(
    "recommend",
    help="top items and intents for one session",
    epilog="Example: intentstore recommend --model .intentstore/models --session 50,172,181 -k 5",
)
def _recommend(
    model: Annotated[
        Path,
        typer.Option(
            "--model", metavar="DIR", help="model folder, or a folder of models with a promoted one"
        ),
    ],
    session: Annotated[
        str,
        typer.Option(
            "--session",
            metavar="ID,ID",
            help="item ids, oldest first, separated by commas; or a JSON list of strings",
        ),
    ],
    k: Annotated[int, typer.Option("-k", help="how many")] = 10,
    config: cli.Config = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON line")] = False,
) -> int:
    return _guarded(recommend, SimpleNamespace(**locals()))


@app.command(
    "study",
    help="the paper's tables and figures on a dataset folder; a killed study goes on",
    epilog="Example: intentstore study data/shop --out runs/study --sections backbones,seeds",
)
def _study(
    dataset: Annotated[Path, typer.Argument(help="dataset folder")],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="folder for study.md, study.json and the plots"),
    ],
    protocol: Annotated[Protocol | None, typer.Option("--protocol", help="as of train")] = None,
    sections: Annotated[
        str | None,
        typer.Option(
            "--sections",
            help=(
                "comma-separated, of backbones, paper-losses, views, grounding, sources, seeds; none = all"
            ),
        ),
    ] = None,
    backbones: Annotated[str | None, typer.Option("--backbones", help="comma-separated; none = all")] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="comma-separated")] = "1,2,3",
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="any key of model.config.ModelConfig for all variants; lists as JSON",
        ),
    ] = None,
    intents: Annotated[
        str,
        typer.Option(
            "--intents",
            metavar="SOURCE",
            callback=_source,
            help=(
                "whose intents the cases carry (default encoder); compared with every control in section "
                "sources; of an LLM also views, a neutral prompt and r"
            ),
        ),
    ] = "encoder",
    gap_minutes: Gap = None,
    config: cli.Config = None,
    json: cli.Json = False,
) -> int:
    given = SimpleNamespace(**locals())
    given.protocol = protocol and protocol.value
    return _guarded(_run_study, given)


def _run_study(given: SimpleNamespace) -> int:
    return experiment.run(_settings(given), given)


def _settings(given: SimpleNamespace) -> Settings:
    settings = cli.settings_of(given.config)
    keep_under(settings.home)
    return settings


def _guarded(verb: Callable[[SimpleNamespace], int], given: SimpleNamespace) -> int:
    """Run a verb; whatever stops it ends with one line, of torch and the system too."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        return verb(given)
    except ModuleNotFoundError as error:
        raise cli.VerbError(cli.missing(error)) from None
    except Exception as error:  # noqa: BLE001 - the last resort of an entry point
        raise cli.VerbError(one_line(error), cli.WRONG) from None
    except KeyboardInterrupt:
        line = "interrupted; the same command goes on from the checkpoint"
        raise cli.VerbError(line, cli.INTERRUPTED) from None


def config_of(arguments: SimpleNamespace, base: dict[str, Any]) -> ModelConfig:
    """Merge the settings' ``[model]`` section and the flags into a config; raises ``ConfigError``."""
    values = dict(base)
    for key in FLAGS:
        if getattr(arguments, key) is not None:
            values[key] = getattr(arguments, key)
    for flag, key, value in (("no_text", "text", False), ("no_hybrid", "hybrid", False)):
        if getattr(arguments, flag):
            values[key] = value
    values["refit"] = arguments.refit or (
        bool(values.get("refit_before_serving", True)) and not arguments.no_refit
    )
    for pair in arguments.pairs or ():
        key, sign, text = pair.partition("=")
        if not sign:
            raise model_config.ConfigError(f"--set {pair}: expected KEY=VALUE, such as --set patience=5")
        values[key] = text  # its key's type says what it is
    return model_config.make_config(values)


def benchmark(arguments: SimpleNamespace) -> int:
    """Run `benchmark`."""
    settings = _settings(arguments)
    if arguments.intent_calls is not None:
        settings = settings.model_copy(
            update={"intents": settings.intents.model_copy(update={"max_calls": arguments.intent_calls})}
        )
    config = config_of(arguments, model_config.base_values(settings))
    session = bench.gap_rule(settings, arguments.gap_minutes)
    with terminal.shown() as progress:
        outcome = bench.run(
            settings,
            arguments.dataset,
            config,
            arguments.out,
            protocol=arguments.protocol,
            source=arguments.intents,
            session=session,
            baselines=arguments.baselines,
            code_commit=code_commit(),
            progress=progress,
        )
    if arguments.json:
        print(json_text.dumps(outcome.metrics, ensure_ascii=False))
        return 0
    _print_metrics(outcome.metrics, arguments.out)
    return 0


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


def recommend(arguments: SimpleNamespace) -> int:
    """Run `recommend`."""
    items = answer.read_session(arguments.session)
    folder = artifact.promoted_dir(arguments.model) or arguments.model
    settings = _settings(arguments)
    model = loaded_model.load_model(settings, folder)
    found = answer.answer(model, items[-settings.session.max_items :], arguments.k)
    if arguments.json:
        print(json_text.dumps(found, ensure_ascii=False))
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
    """Run the command line; returns the exit code, see `feature_repo.contract.cli`."""
    words = list(sys.argv[1:] if argv is None else argv)
    return cli.run(cli.command_of(app), words, "python -m model", "python -m model {verb}")


if __name__ == "__main__":
    sys.exit(main())
