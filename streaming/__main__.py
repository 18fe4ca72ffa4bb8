"""Command line of the live half: `python -m streaming up|down|consume|repartition|serve|dlq|lag|intents`.
Reads the environment, then passes settings down.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from feature_repo.contract.settings import Settings, SettingsError, load_settings
from streaming import commands
from streaming.logs import configure_logging

Command = Callable[[Settings, argparse.Namespace], int]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streaming",
        description="Live half of IntentStore: services, consumer, HTTP, dead letters.",
    )
    parser.add_argument("--verbose", action="store_true", help="tell more of what is done")
    words = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _services(words)
    _consumer(words)
    _dead_letters(words)
    lag = _word(words, "lag", "how far the consumer group is behind, per partition", commands.lag)
    lag.add_argument("--group", help="consumer group")
    lag.add_argument("--json", action="store_true", help="one JSON line")
    intents = _word(
        words,
        "intents",
        "near-line worker: answers requests for LLM intents within the budget",
        commands.intents,
    )
    intents.add_argument(
        "--until-idle", type=_seconds, metavar="SECONDS", help="end when nothing came for so long"
    )
    intents.add_argument("--max-calls", type=int, help="at most this many sessions are sent to the LLM")
    return parser


def _word(words: Any, name: str, text: str, run: Command) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = words.add_parser(name, help=text, description=text)
    parser.add_argument(
        "--config",
        type=Path,
        help="settings file (default: intentstore.toml of this folder, where there is one)",
    )
    parser.add_argument(
        "--bootstrap-servers",
        help="broker, host:port[,host:port]; default: the settings, else the embedded one",
    )
    parser.set_defaults(run=run)
    return parser


def _services(words: Any) -> None:
    up = _word(words, "up", "start the embedded broker and valkey, or find them running", commands.up)
    up.add_argument(
        "--json", action="store_true", help="one JSON line with addresses and pids, once both answer"
    )
    _word(words, "down", "stop the embedded broker and valkey; their data stays", commands.down)


def _consumer(words: Any) -> None:
    consume = _word(
        words, "consume", "fold and score clicks, answer each exactly once in effect", commands.consume
    )
    consume.add_argument("--group", help="consumer group")
    consume.add_argument("--instance-id", help="static member id, so that a restart causes no rebalance")
    consume.add_argument("--state-dir", type=Path, help="folder of the RocksDB stores")
    consume.add_argument(
        "--model", type=Path, metavar="DIR", help="one model folder, instead of the promoted one"
    )
    consume.add_argument(
        "--shadow-model",
        type=Path,
        metavar="DIR",
        help="scored beside, compared in the metrics, never answered from",
    )
    consume.add_argument(
        "--until-idle", type=_seconds, metavar="SECONDS", help="end when nothing came for so long"
    )
    consume.add_argument(
        "--accept-loss",
        "--rebuild-from-rest",
        action="store_true",
        help="when state is lost and the topic is trimmed or made anew: go on with what is left",
    )
    consume.add_argument(
        "--metrics-port",
        type=int,
        help="serve Prometheus metrics on this port of 127.0.0.1 (0 = any free one)",
    )
    move = _word(
        words,
        "repartition",
        "after partitions were added: move the states of sessions to where their clicks come now",
        commands.repartition,
    )
    move.add_argument("--group", help="consumer group")
    move.add_argument(
        "--state-dir",
        type=Path,
        help="folder of the RocksDB stores; partitions without a store there are folded from the topic",
    )
    move.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="one model folder, instead of the promoted one, for clicks that wait",
    )
    serve = _word(words, "serve", "the HTTP side", commands.serve)
    serve.add_argument("--host", help="address to listen on")
    serve.add_argument("--port", type=int, help="port to listen on")
    serve.add_argument("--workers", type=int, help="processes that answer behind this port (default 1)")
    serve.add_argument(
        "--model", type=Path, metavar="DIR", help="one model folder, instead of the promoted one"
    )


def _dead_letters(words: Any) -> None:
    dead = words.add_parser(
        "dlq", help="dead letters: list or redrive", description="Dead letters: list or redrive."
    ).add_subparsers(dest="dlq_command", required=True, metavar="list|redrive")
    listing = _word(dead, "list", "show dead letters, oldest first", commands.dlq_list)
    listing.add_argument("--reason", help="only this reason")
    listing.add_argument("--limit", type=int, default=50, help="at most so many (default 50)")
    listing.add_argument("--json", action="store_true", help="one JSON line a letter")
    redrive = _word(
        dead,
        "redrive",
        "check dead letters again; those valid now go back to the clicks topic, in order, once",
        commands.dlq_redrive,
    )
    redrive.add_argument("--reason", help="only this reason")
    redrive.add_argument(
        "--rekey", action="store_true", help="give letters refused as wrong_key the key of their session id"
    )
    redrive.add_argument("--dry-run", action="store_true", help="only tell what would be sent")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no positive number of seconds")
    return value


_OVERRIDES = {
    "bootstrap_servers": "kafka.bootstrap_servers",
    "group": "streaming.group",
    "instance_id": "streaming.instance_id",
    "state_dir": "streaming.state_dir",
    "metrics_port": "streaming.metrics_port",
    "host": "http.host",
    "port": "http.port",
    "workers": "http.workers",
}


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str
        The words after ``python -m streaming``.

    Returns
    -------
    int
        0 when done, 1 when it failed (one line on standard error says why), 2 when the words are wrong.
    """
    # One compiled kernel a shape of a batch is kept by torch, 1,024 of them by default: a consumer's memory
    # would grow for an hour.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    options = _parser().parse_args(arguments)
    level = (
        logging.INFO
        if options.verbose or options.command in ("consume", "serve", "intents")
        else logging.WARNING
    )
    configure_logging(level)
    overrides = {key: getattr(options, name, None) for name, key in _OVERRIDES.items()}
    try:
        settings = load_settings(options.config, os.environ, overrides)
        run: Command = options.run
        return run(settings, options)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except commands.EXPECTED_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
