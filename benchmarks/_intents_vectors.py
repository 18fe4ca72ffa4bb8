"""What surrounds the LLM: the encoder against sentence-transformers, localisation, and the student; used by
`intents`.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from _report import spread
from feature_repo.contract.settings import EncoderSettings


def encoder(sessions: list[list[str]], repeats: int) -> list[dict[str, Any]]:
    """Texts a processor second against sentence-transformers' default, and the mean cosine between both."""
    from sentence_transformers import SentenceTransformer

    from model.text.encoder import TextEncoder, default_folder

    ours, theirs = (
        TextEncoder.load(EncoderSettings()),
        SentenceTransformer(str(default_folder()), device="cpu"),
    )
    texts = {
        "titles": sorted({title for session in sessions for title in session})[:768],
        "sessions": [". ".join(session[-14:]) for session in sessions[:128]],
    }
    rows = []
    for kind, batch in texts.items():
        rates: dict[str, list[float]] = {"ours": [], "sentence-transformers": []}
        for _ in range(repeats):
            started = time.process_time()
            reference = theirs.encode(batch, normalize_embeddings=True)
            middle = time.process_time()
            vectors = ours.encode(batch)
            rates["sentence-transformers"].append(len(batch) / (middle - started))
            rates["ours"].append(len(batch) / (time.process_time() - middle))
        gain = statistics.median(rates["ours"]) / statistics.median(rates["sentence-transformers"])
        cosine = float((reference * vectors).sum(1).mean())
        rows += [
            {
                "part": "encoder",
                "variant": f"{kind}, {name}, texts/cpu s",
                "cpu s/prefix": spread(values),
                "speed-up": gain if name == "ours" else 1.0,
                "mean cosine": cosine if name == "ours" else 1.0,
            }
            for name, values in rates.items()
        ]
    return rows


def locate(repeats: int, large: int) -> list[dict[str, Any]]:
    """Seconds for 10,000 answers on 12,101 items, and milliseconds an answer on a large synthetic catalogue
    with its recall@5.
    """
    from model.intent.ground.localiser import Localiser

    chooser = np.random.default_rng(0)

    def unit(rows: Any) -> Any:
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    small = Localiser(
        [str(item) for item in range(12_101)],
        [""] * 12_101,
        unit(chooser.normal(size=(12_101, 384))),
        "centred",
        5,
    )
    answers = unit(chooser.normal(size=(10_000, 384)))
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        small.ground(answers)
        seconds.append(time.process_time() - started)
    rows: list[dict[str, Any]] = [
        {"part": "locate", "variant": "10,000 answers on 12,101 items, s", "cpu s/prefix": spread(seconds)}
    ]
    if not large:
        return rows
    centres = unit(chooser.normal(size=(2_000, 384)).astype(np.float32))
    for kind, mix in (("no clusters", 0.0), ("clusters", 1.0)):
        vectors = np.empty((large, 384), np.float32)
        for start in range(0, large, 50_000):
            part = vectors[start : start + 50_000]
            part[:] = (
                chooser.standard_normal(part.shape, np.float32) / 384**0.5
                + mix * centres[chooser.integers(0, len(centres), len(part))]
            )
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        catalogue = Localiser([str(item) for item in range(large)], [""] * large, vectors, "raw", 5)
        asked = unit(
            vectors[chooser.integers(0, large, 256)] + 0.5 * chooser.normal(size=(256, 384)) / 384**0.5
        )
        truth = np.argpartition(-(asked[:64] @ catalogue.vectors.T), 5, axis=1)[:, :5]
        catalogue.search(asked[:2], 5)
        for name, size in (("batch of 256", 256), ("one at a time", 1)):
            rows.append(
                _located(
                    catalogue,
                    asked,
                    truth,
                    f"{large:,} items, {kind}, blocked exact, {name}, ms/answer",
                    size,
                    repeats,
                )
            )
        started = time.process_time()
        if catalogue.build_index():
            built = time.process_time() - started
            row = _located(
                catalogue,
                asked,
                truth,
                f"{large:,} items, {kind}, inverted lists, one at a time, ms/answer",
                1,
                repeats,
            )
            rows.append({**row, "build s": round(built, 1)})
    return rows


def _located(catalogue: Any, asked: Any, truth: Any, name: str, size: int, repeats: int) -> dict[str, Any]:
    values = []
    for _ in range(repeats):
        started = time.process_time()
        found = np.concatenate(
            [catalogue.search(asked[start : start + size], 5)[0] for start in range(0, max(size, 16), size)]
        )
        values.append(1000 * (time.process_time() - started) / len(found))
    measured = np.concatenate(
        [
            catalogue.search(asked[place : place + min(size, 64)], 5)[0]
            for place in range(0, 64, min(size, 64))
        ]
    )
    recall = float(
        np.mean([len(np.intersect1d(one, other)) / 5 for one, other in zip(measured, truth, strict=True)])
    )
    return {"part": "locate", "variant": name, "cpu s/prefix": spread(values), "recall@5": recall}


def student(repeats: int) -> list[dict[str, Any]]:
    """Milliseconds of the student's two vectors for one prefix, and with their readable grounding on 12,101
    items.
    """
    from model.intent.ground.encoder import EncoderSource
    from model.intent.ground.localiser import Localiser
    from model.intent.ground.student import train_student

    chooser = np.random.default_rng(0)
    vectors = chooser.normal(size=(12_101, 384)).astype(np.float32)
    source = EncoderSource(Localiser([str(item) for item in range(12_101)], [""] * 12_101, vectors))
    prefixes = [[str(item) for item in chooser.integers(0, 12_101, 12)] for _ in range(200)]
    trivial = source.vectors(prefixes)
    network = train_student(trivial, trivial)
    assert network is not None
    calls = {
        "vectors, ms": lambda prefix: network.predict(*source.vectors([prefix])),
        "vectors and nearest titles, ms": lambda prefix: network.infer([prefix], source),
    }
    rows = []
    for name, run in calls.items():
        run(prefixes[0])
        values = []
        for _ in range(max(3, repeats)):
            started = time.perf_counter()
            for prefix in prefixes[:100]:
                run(prefix)
            values.append(10 * (time.perf_counter() - started))
        rows.append(
            {"part": "student", "variant": f"one prefix at a time, {name}", "cpu s/prefix": spread(values)}
        )
    return rows
