"""Intents: processor time of generation against the paper's loop, the encoder, localisation, the student, and
two workers against one.

    python benchmarks/intents.py [--sessions 24] [--naive 6] [--repeats 3] [--only
    generation,prefixes,workers,encoder,locate,student]

Variants run one after the other inside each repeat, so that a busy machine hits all of them alike; times are
processor seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from _intents_generation import Llm, generation, sessions_of, workers
from _intents_vectors import encoder, locate, student

from _report import RESULTS, write_result
from feature_repo.contract.settings import load_settings

torch.set_num_threads(1)
PARTS = {
    "generation": "sessions",
    "prefixes": "all prefixes of a session",
    **{name: name for name in ("workers", "encoder", "locate", "student")},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=24)
    parser.add_argument(
        "--naive", type=int, default=6, help="of these, asked through the slow plain loop too"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--large", type=int, default=1_000_000, help="items of the synthetic catalogue; 0 = leave it out"
    )
    parser.add_argument("--only", default=",".join(PARTS))
    given = parser.parse_args()
    settings = load_settings(None, os.environ)
    sessions = sessions_of(settings)
    chosen = given.only.split(",")
    rows: list[dict[str, Any]] = []
    if {"generation", "prefixes"} & set(chosen):
        llm = Llm(settings)
        if "generation" in chosen:
            rows += generation(
                llm,
                [session[:-1] for session in sessions[: given.sessions]],
                given.naive,
                given.repeats,
                "sessions",
            )
        if "prefixes" in chosen:
            longer = next(session for session in sessions if len(session) >= 18)
            grown = [longer[:end] for end in range(3, 18)]
            random.Random(1).shuffle(grown)
            rows += generation(
                llm, grown, min(given.naive, len(grown)), given.repeats, "all prefixes of a session"
            )
        del llm
    rest: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "workers": lambda: workers(settings, given.sessions, given.repeats),
        "encoder": lambda: encoder(sessions, given.repeats),
        "locate": lambda: locate(given.repeats, given.large),
        "student": lambda: student(given.repeats),
    }
    for part, run in rest.items():
        if part in chosen:
            rows += run()
            print(*rows, sep="\n", file=sys.stderr, flush=True)
    write_result(
        "intents",
        _with_others(rows, chosen),
        {"sessions": given.sessions, "repeats": given.repeats, "threads": 1},
    )


def _with_others(rows: list[dict[str, Any]], measured: list[str]) -> list[dict[str, Any]]:
    """Keep what earlier runs found for the parts that this run left out; each row says of which commit it
    is.
    """
    file: Path = RESULTS / "intents.json"
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"rows": []}
    names = {PARTS[part] for part in measured}
    kept = [
        {**row, "commit": row.get("commit", earlier["commit"])}
        for row in earlier["rows"]
        if row["part"] not in names
    ]
    return kept + rows


if __name__ == "__main__":
    main()
