"""Nearest vectors beyond the exact limit: time and recall of the graph beside the exact product, and of a
filter by category.

    python benchmarks/vectors.py [--items 120000] [--dim 384] [--queries 200]

Vectors are drawn around 2,000 centres, as texts of a catalogue crowd around topics; queries are drawn the
same way.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _report import write_result
from feature_repo.serving.vectors import APPROXIMATE_FROM, Neighbour, VectorIndex

CENTRES, CATEGORIES, K = 2_000, 50, 10


def crowded(count: int, dim: int, centres: np.ndarray, seed: int) -> np.ndarray:
    """Unit-length centres plus noise of the same length."""
    dice = np.random.default_rng(seed)
    noise = dice.normal(size=(count, dim)).astype(np.float32) / np.float32(np.sqrt(dim))
    drawn: np.ndarray = centres[dice.integers(0, len(centres), count)] + noise
    return drawn


def timed(
    index: VectorIndex, queries: np.ndarray, **filters: Any
) -> tuple[list[list[Neighbour]], dict[str, float]]:
    """Answers, and milliseconds a query."""
    answers, taken = [], []
    for query in queries:
        start = time.perf_counter()
        answers.append(index.nearest(query, K, **filters))
        taken.append(time.perf_counter() - start)
    return answers, {
        "p50_ms": float(np.percentile(taken, 50)) * 1000,
        "p99_ms": float(np.percentile(taken, 99)) * 1000,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--items", type=int, default=120_000)
    arguments.add_argument("--dim", type=int, default=384)
    arguments.add_argument("--queries", type=int, default=200)
    chosen = arguments.parse_args()
    centres = crowded(CENTRES, chosen.dim, np.zeros((1, chosen.dim), np.float32), 0)
    vectors, queries = (
        crowded(chosen.items, chosen.dim, centres, 1),
        crowded(chosen.queries, chosen.dim, centres, 2),
    )
    keys = [f"i{number}" for number in range(chosen.items)]
    kinds = [f"kind {number % CATEGORIES}" for number in range(chosen.items)]
    exact = VectorIndex(keys, vectors, categories=kinds, approximate=False)
    right, figures = timed(exact, queries)
    rows: list[dict[str, Any]] = [{"what": "exact", "recall_at_10": 1.0, **figures}]
    start = time.perf_counter()
    graph = VectorIndex(keys, vectors, categories=kinds)
    built = time.perf_counter() - start
    found, figures = timed(graph, queries)
    hits = sum(
        len({a.key for a in mine} & {b.key for b in true}) for mine, true in zip(found, right, strict=True)
    )
    name = "graph" if graph.approximate else "exact again (not beyond the limit)"
    rows.append({"what": name, "recall_at_10": hits / (K * len(queries)), **figures, "build_s": built})
    filtered, figures = timed(graph, queries, category="kind 7")
    assert all(int(neighbour.key[1:]) % CATEGORIES == 7 for answer in filtered for neighbour in answer)
    assert filtered == timed(exact, queries, category="kind 7")[0], "filters are exact"
    rows.append({"what": f"category, 1 of {CATEGORIES}", "recall_at_10": 1.0, **figures})
    write_result(
        "vectors",
        rows,
        {"items": chosen.items, "dim": chosen.dim, "approximate_from": APPROXIMATE_FROM, "k": K},
    )


if __name__ == "__main__":
    main()
