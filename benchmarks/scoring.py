"""Time of an answer by size of the catalogue, one thread: `python benchmarks/scoring.py [--items 1700 12101 1000000]`.

Weights are random (time does not depend on them). "network" is the exact scan of all item vectors; "with transitions" adds decayed
transitions of 200,000 made-up sessions. Sessions have 1 to 20 clicks.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from _report import write_result
from model.config import make_config
from model.hybrid import NETWORK, Hybrid
from model.items import Catalogue
from model.network import Network
from model.parts import KINDS
from model.probabilities import NetworkScorer
from model.scorer import Scorer, ScoreRequest
from model.sequences import Sequences, expand
from model.splits import Dataset

SESSIONS = 200_000


def make_scorer(items: int, dim: int) -> Scorer:
    config = make_config({"dim": dim, "score": "cosine"})
    torch.manual_seed(0)
    network = Network(config, items).eval().requires_grad_(False)
    catalogue = Catalogue.build([f"i{place}" for place in range(items)])
    return Scorer("random", config, catalogue, NetworkScorer(network, config), None, np.ones(items, dtype=np.int64))


def with_transitions(scorer: Scorer, random: np.random.Generator) -> Scorer:
    items = len(scorer.catalogue)
    lengths = random.integers(2, 8, SESSIONS)
    flat = np.minimum(items * random.random(int(lengths.sum())) ** 2, items - 1).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    sessions = Sequences([""] * SESSIONS, flat, offsets, np.zeros(len(flat), dtype=np.int64), np.zeros(SESSIONS, dtype=np.int64))
    nothing = expand(Sequences.of([]))
    part = KINDS["transitions"].fit(Dataset("made-up", "next-item", scorer.catalogue, sessions, nothing, nothing))
    return replace(scorer, hybrid=Hybrid({NETWORK: 0.7, "transitions": 0.3}, {"transitions": part}))


def measure(scorer: Scorer, batch: int, rounds: int, random: np.random.Generator) -> tuple[list[float], list[float]]:
    """Milliseconds a session of each round: on the clock, and of the processor (which other processes on the machine do not lengthen as much)."""
    items = len(scorer.catalogue)
    clock, processor = [], []
    for _ in range(rounds + 2):
        requests = [ScoreRequest([f"i{place}" for place in random.integers(0, items, random.integers(1, 21))]) for _ in range(batch)]
        begun, used = time.perf_counter(), time.process_time()
        scorer.score(requests, 20)
        clock.append(1000 * (time.perf_counter() - begun) / batch)
        processor.append(1000 * (time.process_time() - used) / batch)
    return clock[2:], processor[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[1_700, 12_101, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for items in arguments.items:
        dim = 128 if items <= 100_000 else 64
        random = np.random.default_rng(1)
        alone = make_scorer(items, dim)
        for name, scorer in (("network", alone), ("with transitions", with_transitions(alone, random))):
            for batch in (1, 500) if items <= 20_000 else (1,):
                clock, processor = measure(scorer, batch, max(5, arguments.rounds // batch), random)
                p50, p99 = (float(value) for value in np.percentile(clock, [50, 99]))
                shape = {"items": items, "dim": dim, "score": name, "batch": batch}
                rows.append({**shape, "p50_ms_a_session": p50, "p99_ms": p99, "best_ms": min(clock), "processor_p50_ms": float(np.median(processor))})
    write_result("scoring", rows, {"threads": 1, "k": 20})


if __name__ == "__main__":
    main()
