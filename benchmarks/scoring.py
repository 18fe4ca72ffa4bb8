"""Time of an answer by size of the catalogue, one thread: `python benchmarks/scoring.py [--items 1682 12101
1000000] [--model FOLDER ...]`.

Made-up models have random weights and titles (time does not depend on them): "network" is the exact scan of
all item vectors, "hybrid" adds transitions of 200,000 made-up sessions and, up to 20,000 items, titles, words
and (up to 4,000) EASE. `--model` measures a trained model too. "intents" is the encoder source in front of
the score. Sessions have 1 to 20 clicks; k = 20 with reasons. Processor time is what counts: other processes
on the machine do not lengthen it as much as the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from _report import write_result
from model.config import make_config
from model.data.catalogue import Catalogue
from model.data.sequences import Sequences, expand
from model.data.splits import Dataset
from model.intent.ground.live import LiveIntents
from model.intent.ground.localiser import Localiser
from model.mix import KINDS, applicable
from model.mix.hybrid import NETWORK, Hybrid
from model.network.compiled import CompiledNetwork
from model.network.network import Network
from model.recommender import artifact
from model.recommender.recommender import Scorer, ScoreRequest

SESSIONS = 200_000


WORDS = 4_000  # different words of made-up titles, the frequent ones as frequent as in real ones
TEXT_ITEMS = 20_000
TEXT_DIM = 384


def make_network(items: int, dim: int) -> Network:
    torch.manual_seed(0)
    return Network(make_config({"dim": dim, "score": "cosine"}), items).eval().requires_grad_(False)


def make_scorer(items: int, dim: int, random: np.random.Generator) -> Scorer:
    made = make_network(items, dim)
    weights = {name: value.numpy() for name, value in made.state_dict().items()}
    network = CompiledNetwork.of(made.config, weights, None, None)
    catalogue = Catalogue.build([f"i{place}" for place in range(items)])
    if items <= TEXT_ITEMS:
        titles = [
            " ".join(f"word{int(WORDS * draw**3)}" for draw in random.random(random.integers(2, 9)))
            for _ in range(items)
        ]
        vectors = random.normal(size=(items, TEXT_DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        catalogue = replace(Catalogue.build(catalogue.item_ids, titles), vectors=vectors)
    return Scorer("random", made.config, catalogue, network, None, np.ones(items, dtype=np.int64))


def with_parts(scorer: Scorer, random: np.random.Generator) -> Scorer:
    items = len(scorer.catalogue)
    lengths = random.integers(2, 8, SESSIONS)
    flat = np.minimum(items * random.random(int(lengths.sum())) ** 2, items - 1).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    sessions = Sequences(
        [""] * SESSIONS,
        flat,
        offsets,
        np.zeros(len(flat), dtype=np.int64),
        np.zeros(SESSIONS, dtype=np.int64),
    )
    nothing = expand(Sequences.of([]))
    data = Dataset("made-up", "next-item", scorer.catalogue, sessions, nothing, nothing)
    # whole-session votes take part only where they pay for their time
    names = [name for name in applicable(data) if name != "neighbours"]
    parts = {name: KINDS[name].fit(data) for name in names}
    return replace(scorer, hybrid=Hybrid({NETWORK: 0.4, **dict.fromkeys(names, 0.6 / len(names))}, parts))


def intents_of(scorer: Scorer) -> LiveIntents | None:
    catalogue = scorer.catalogue
    return (
        None
        if catalogue.vectors is None
        else LiveIntents(Localiser(catalogue.item_ids, catalogue.titles, catalogue.vectors))
    )


def measure(
    scorer: Scorer, live: LiveIntents | None, batch: int, rounds: int, random: np.random.Generator
) -> dict[str, float]:
    """Milliseconds a session: on the clock and of the processor, and the processor's share of the intents."""
    names = scorer.item_ids
    clock, processor, inferring = [], [], []
    for _ in range(rounds + 2):
        prefixes = [
            [names[place] for place in random.integers(0, len(names), random.integers(1, 21))]
            for _ in range(batch)
        ]
        begun, used = time.perf_counter(), time.process_time()
        intents = live.infer(prefixes) if live is not None else None
        inferred = time.process_time()
        views = (
            [(None, None)] * batch
            if intents is None
            else [(intent.long.vector, intent.short.vector) for intent in intents]
        )
        scorer.score([ScoreRequest(prefix, *pair) for prefix, pair in zip(prefixes, views, strict=True)], 20)
        clock.append(1000 * (time.perf_counter() - begun) / batch)
        processor.append(1000 * (time.process_time() - used) / batch)
        inferring.append(1000 * (inferred - used) / batch)
    p50, p99 = (float(value) for value in np.percentile(clock[2:], [50, 99]))
    return {
        "p50_ms_a_session": p50,
        "p99_ms": p99,
        "processor_p50_ms": float(np.median(processor[2:])),
        "processor_best_ms": min(processor[2:]),
        "of_which_intents_ms": float(np.median(inferring[2:])),
    }


def subjects(sizes: list[int], folders: list[Path]) -> Iterator[tuple[str, Scorer, LiveIntents | None]]:
    """Name, scorer and intents of everything that is measured."""
    for items in sizes:
        random = np.random.default_rng(1)
        alone = make_scorer(items, 128 if items <= 100_000 else 64, random)
        yield "network", alone, None
        hybrid = with_parts(alone, random)
        yield "hybrid", hybrid, intents_of(hybrid)
    for folder in folders:
        scorer = artifact.load(folder)
        yield f"trained {scorer.version}", scorer, intents_of(scorer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="*", default=[1_682, 12_101, 100_000, 1_000_000])
    parser.add_argument("--model", type=Path, nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    for name, scorer, live in subjects(arguments.items, arguments.model):
        items, random = len(scorer.catalogue), np.random.default_rng(2)
        parts = [] if scorer.hybrid is None else list(scorer.hybrid.parts)
        for batch in (1, 32, 128, 500) if items <= 20_000 else (1,):
            shape = {
                "items": items,
                "dim": scorer.config.dim,
                "score": name,
                "parts": len(parts),
                "batch": batch,
            }
            rows.append({**shape, **measure(scorer, live, batch, max(6, arguments.rounds // batch), random)})
    write_result("scoring", rows, {"threads": 1, "k": 20})


if __name__ == "__main__":
    main()
