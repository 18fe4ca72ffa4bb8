"""Command line of the live half: `python -m streaming up|down|consume|repartition|serve|dlq|lag|intents`.
`intentstore` has the same verbs out of this file. Reads the environment, then passes settings down.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.contract import cli
from feature_repo.contract.lazy import lazy
from model.kernels.store import keep_under
from streaming.logs import configure_logging

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings
    from streaming import commands
else:
    commands = lazy("streaming.commands")

Group = Annotated[str | None, typer.Option("--group", help="consumer group")]
StateDir = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="folder of the RocksDB stores")
]
Model = Annotated[
    Path | None,
    typer.Option("--model", metavar="DIR", help="one model folder, instead of the promoted one"),
]
Idle = Annotated[
    float | None,
    typer.Option(
        "--until-idle",
        metavar="SECONDS",
        callback=cli.positive_seconds,
        help="end when nothing came for so long",
    ),
]
Reason = Annotated[str | None, typer.Option("--reason", help="only this reason")]

app = cli.program("Live half of IntentStore: services, consumer, HTTP, dead letters.")
dlq = cli.program("Dead letters: list or redrive.")


@app.callback()
def _root(verbose: cli.Verbose = False) -> None:
    cli.verbose.set(verbose)


@app.command(
    "up",
    help="start the embedded broker and valkey, or find them running",
    epilog="Example: intentstore up --json",
)
def _up(
    config: cli.Config = None,
    bootstrap_servers: cli.Broker = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="one JSON line with addresses and pids, once both answer"),
    ] = False,
) -> int:
    settings = _settings(config, bootstrap_servers)

    return commands.guarded(commands.up, settings, json=json)


@app.command(
    "down",
    help="stop the embedded broker and valkey; their data stays",
    epilog="Example: intentstore down",
)
def _down(config: cli.Config = None, bootstrap_servers: cli.Broker = None, json: cli.Json = False) -> int:
    settings = _settings(config, bootstrap_servers)

    return commands.guarded(commands.down, settings, json=json)


@app.command(
    "consume",
    help="fold and score clicks, answer each exactly once in effect",
    epilog="Example: intentstore consume --until-idle 10 --metrics-port 9108",
)
def _consume(
    config: cli.Config = None,
    bootstrap_servers: cli.Broker = None,
    group: Group = None,
    instance_id: Annotated[
        str | None,
        typer.Option("--instance-id", help="static member id, so that a restart causes no rebalance"),
    ] = None,
    state_dir: StateDir = None,
    model: Model = None,
    shadow_model: Annotated[
        Path | None,
        typer.Option(
            "--shadow-model",
            metavar="DIR",
            help="scored beside, compared in the metrics, never answered from",
        ),
    ] = None,
    until_idle: Idle = None,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            "--rebuild-from-rest",
            help="when state is lost and the topic is trimmed or made anew: go on with what is left",
        ),
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            help="serve Prometheus metrics on this port of 127.0.0.1 (0 = any free one)",
        ),
    ] = None,
) -> int:
    settings = _settings(
        config,
        bootstrap_servers,
        chatty=True,
        streaming__group=group,
        streaming__instance_id=instance_id,
        streaming__state_dir=state_dir,
        streaming__metrics_port=metrics_port,
    )

    return commands.guarded(
        commands.consume,
        settings,
        model=model,
        shadow_model=shadow_model,
        until_idle=until_idle,
        accept_loss=accept_loss,
    )


@app.command(
    "repartition",
    help="after partitions were added: move the states of sessions to where their clicks come now",
    epilog="Example: intentstore repartition",
)
def _repartition(
    config: cli.Config = None,
    bootstrap_servers: cli.Broker = None,
    group: Group = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            "--state-dir",
            metavar="DIR",
            help="folder of the RocksDB stores; partitions without a store there are folded from the topic",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="DIR",
            help="one model folder, instead of the promoted one, for clicks that wait",
        ),
    ] = None,
    json: cli.Json = False,
) -> int:
    settings = _settings(config, bootstrap_servers, streaming__group=group, streaming__state_dir=state_dir)

    return commands.guarded(commands.repartition, settings, model=model, json=json)


@app.command(
    "serve",
    help="the HTTP side",
    epilog="Example: intentstore serve --port 8750",
)
def _serve(
    config: cli.Config = None,
    bootstrap_servers: cli.Broker = None,
    host: Annotated[str | None, typer.Option("--host", help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option("--port", help="port to listen on")] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="processes that answer behind this port (default 1)"),
    ] = None,
    model: Model = None,
) -> int:
    settings = _settings(
        config, bootstrap_servers, chatty=True, http__host=host, http__port=port, http__workers=workers
    )

    return commands.guarded(commands.serve, settings, model=model)


@app.command(
    "lag",
    help="how far the consumer group is behind, per partition",
    epilog="Example: intentstore lag --json",
)
def _lag(
    config: cli.Config = None,
    bootstrap_servers: cli.Broker = None,
    group: Group = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON line")] = False,
) -> int:
    settings = _settings(config, bootstrap_servers, streaming__group=group)

    return commands.guarded(commands.lag, settings, json=json)


@app.command(
    "intents",
    help="near-line worker: answers requests for LLM intents within the budget",
    epilog="Example: intentstore answer-intents --max-calls 100",
)
def _intents(
    config: cli.Config = None,
    bootstrap_servers: cli.Broker = None,
    until_idle: Idle = None,
    max_calls: Annotated[
        int | None,
        typer.Option("--max-calls", help="at most this many sessions are sent to the LLM"),
    ] = None,
) -> int:
    settings = _settings(config, bootstrap_servers, chatty=True)

    return commands.guarded(commands.intents, settings, until_idle=until_idle, max_calls=max_calls)


@dlq.command(
    "list",
    help="show dead letters, oldest first",
    epilog="Example: intentstore dlq list --reason bad_json --limit 5",
)
def _dlq_list(
    config: cli.Config = None,
    bootstrap_servers: cli.Broker = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option("--limit", help="at most so many (default 50)")] = 50,
    json: Annotated[bool, typer.Option("--json", help="one JSON line a letter")] = False,
) -> int:
    settings = _settings(config, bootstrap_servers)

    return commands.guarded(commands.dlq_list, settings, reason=reason, limit=limit, json=json)


@dlq.command(
    "redrive",
    help="check dead letters again; those valid now go back to the clicks topic, in order, once",
    epilog="Example: intentstore dlq redrive --dry-run",
)
def _dlq_redrive(
    config: cli.Config = None,
    bootstrap_servers: cli.Broker = None,
    reason: Reason = None,
    rekey: Annotated[
        bool,
        typer.Option("--rekey", help="give letters refused as wrong_key the key of their session id"),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only tell what would be sent")] = False,
    json: cli.Json = False,
) -> int:
    settings = _settings(config, bootstrap_servers)

    return commands.guarded(
        commands.dlq_redrive, settings, reason=reason, rekey=rekey, dry_run=dry_run, json=json
    )


app.add_typer(dlq, name="dlq", help="dead letters: list or redrive")


def _settings(
    config: Path | None, bootstrap_servers: str | None, *, chatty: bool = False, **flags: Any
) -> Settings:
    # One compiled kernel a shape of a batch is kept by torch, 1,024 of them by default: a consumer's memory
    # would grow for an hour.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

    level = logging.INFO if chatty or cli.verbose.get() else logging.WARNING
    configure_logging(level)
    settings = cli.settings_of(config, kafka__bootstrap_servers=bootstrap_servers, **flags)
    keep_under(settings.home)
    return settings


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str
        The words after ``python -m streaming``.

    Returns
    -------
    int
        See `feature_repo.contract.cli`.
    """
    return cli.run(cli.command_of(app), arguments, "python -m streaming", "error")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
