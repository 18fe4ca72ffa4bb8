"""Intents: processor time of generation against the paper's loop, the encoder, localisation, the student, and two workers against one.

    python benchmarks/intents.py [--sessions 24] [--naive 6] [--repeats 3] [--only generation,prefixes,workers,encoder,locate,student]

Variants run one after the other inside each repeat, so that a busy machine hits all of them alike; times are processor seconds of one thread.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

from _report import spread, write_result
from feature_repo.contract import assets
from feature_repo.contract.settings import EncoderSettings, LlmSettings, Settings, load_settings
from model.intent.chat import Chat
from model.intent.generate import Generator
from model.intent.llm import prompt_ids
from model.intent.prompts import TitleCutter, template
from model.intent.weights import load_network, prepare

torch.set_num_threads(1)
LONGEST = 16
PARTS = ("generation", "prefixes", "workers", "encoder", "locate", "student")


def sessions_of(settings: Settings) -> list[list[str]]:
    """ML-100K's sessions (10-minute rule) as titles with year, shuffled by a fixed seed."""
    folder = assets.fetch("ml-100k", settings.assets_dir)
    rows = [line.split("\t") for line in (folder / "ml-100k.item").read_text(encoding="utf-8").splitlines()[1:]]
    titles = {row[0]: f"{row[1]} ({row[2]})" for row in rows}
    clicks: dict[str, list[tuple[float, str]]] = {}
    for line in (folder / "ml-100k.inter").read_text(encoding="utf-8").splitlines()[1:]:
        user, item, _, moment = line.split("\t")
        clicks.setdefault(user, []).append((float(moment), item))
    found: list[list[str]] = []
    for user in sorted(clicks):
        last = float("-inf")
        for moment, item in sorted(clicks[user]):
            if moment - last > 600:
                found.append([])
            found[-1].append(titles[item])
            last = moment
    found = [session for session in found if len(session) >= 3]
    random.Random(7).shuffle(found)
    return found


def naive(network: Any, chat: Chat, prompts: list[list[int]]) -> list[list[int]]:
    """The paper's loop: one prompt at a time, through transformers' own generate."""
    answers = []
    with torch.inference_mode():
        for ids in prompts:
            size = len(ids)
            stop = [lambda seen, scores, size=size, **_: torch.tensor([_ended(chat, seen[0, size:].tolist())])]
            given = network.generate(
                torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=LONGEST, do_sample=False,
                pad_token_id=0, eos_token_id=sorted(chat.stop_ids), stopping_criteria=stop,
            )[0, len(ids) :].tolist()  # fmt: skip
            if given and chat.ends(given[-1], given[:-1]):
                given.pop()
            answers.append(given)
    return answers


def _ended(chat: Chat, given: list[int]) -> bool:
    return bool(given) and (chat.closes(given[-1]) or chat.ends(given[-1], given[:-1]))


class Llm:
    """The model once in each number type, and everything a variant needs."""

    def __init__(self, settings: Settings) -> None:
        self.folder = prepare(LlmSettings(), settings.assets_dir)
        self.chat = Chat(self.folder)
        self.form = template(settings.intents.prompt_version)
        self.cut = TitleCutter(self.folder / "tokenizer.json", settings.intents.max_title_tokens)
        # Separate copies: the batched generator installs its own attention.
        self.plain = {dtype: load_network(self.folder, "float32", "cpu").to(getattr(torch, dtype)) for dtype in ("float32", "bfloat16")}
        self.shared = {dtype: load_network(self.folder, dtype, "cpu") for dtype in ("float32", "bfloat16")}

    def prompts(self, prefixes: list[list[str]]) -> list[list[int]]:
        return [ids for titles in prefixes for ids in prompt_ids(self.chat, self.form, [self.cut(title) for title in titles[-20:]], 7000)]

    def generator(self, dtype: str, batch: int, draft: int) -> Generator:
        return Generator(self.shared[dtype], self.chat, batch_size=batch, max_new_tokens=LONGEST, draft_tokens=draft)

    def texts(self, answers: list[list[int]]) -> list[str]:
        return [self.chat.text(ids) for ids in answers]


def generation(llm: Llm, prefixes: list[list[str]], few: int, repeats: int, name: str) -> list[dict[str, Any]]:
    """Processor seconds a prefix of each variant, and the share of answers equal to those of the plain loop in float32."""
    prompts = llm.prompts(prefixes)
    variants: dict[str, Any] = {
        "paper's loop, float32": lambda: naive(llm.plain["float32"], llm.chat, prompts[: 2 * few]),
        "paper's loop, bfloat16": lambda: naive(llm.plain["bfloat16"], llm.chat, prompts[: 2 * few]),
    }
    parts: dict[str, Any] = {}
    for dtype in ("float32", "bfloat16"):
        for draft in (0, 5):
            variants[f"shared heads, {dtype}, {draft} drafts"] = lambda dtype=dtype, draft=draft: _timed(llm, prompts, dtype, draft, parts)
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    answers: dict[str, list[str]] = {}
    for repeat in range(repeats):
        for variant, run in variants.items():
            started = time.process_time()
            found = run()
            seconds[variant].append((time.process_time() - started) / (len(found) / 2))
            answers[variant] = llm.texts(found)
            print(f"{name}, repeat {repeat + 1}, {variant}: {seconds[variant][-1]:.3f} processor s", file=sys.stderr, flush=True)
    base = statistics.median(seconds["paper's loop, float32"])
    truth = answers["paper's loop, float32"]
    rows = []
    for variant, values in seconds.items():
        same = [one == other for one, other in zip(answers[variant], truth, strict=False)]
        rows.append({
            "part": name, "variant": variant, "cpu s/prefix": spread(values), "speed-up": base / statistics.median(values),
            "same text": sum(same) / len(same), "prefixes": len(answers[variant]) // 2, **parts.get(variant, {}),
        })  # fmt: skip
    return rows


def _timed(llm: Llm, prompts: list[list[int]], dtype: str, draft: int, parts: dict[str, Any]) -> list[list[int]]:
    generator = llm.generator(dtype, 16, draft)
    answers = generator.generate(prompts)
    spent = generator.timings
    total = spent.heads + spent.tails + spent.steps + spent.other
    parts[f"shared heads, {dtype}, {draft} drafts"] = {
        "heads": f"{spent.heads / total:.0%}", "tails": f"{spent.tails / total:.0%}", "steps": f"{spent.steps / total:.0%}",
        "tokens a step": f"{spent.output_tokens / max(1, spent.step_count):.1f}",
    }  # fmt: skip
    return answers


WORKER = """
import sys, time, resource
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[1:]
from intents import Llm, load_settings, sessions_of
from pathlib import Path
import os
from model.intent.llm import LocalLlm
settings = load_settings(Path(os.devnull), os.environ)
part, parts, count = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
llm = LocalLlm(settings)
from model.intent.prompts import TitleCutter
cut = str
chosen = [[str(title) for title in session[:-1][-20:]] for session in sessions_of(settings)[:count]][part::parts]
print("ready", flush=True); sys.stdin.readline()
started = time.monotonic(); llm.answer(chosen)
print(time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
"""


def workers(settings: Settings, count: int, repeats: int) -> list[dict[str, Any]]:
    """Wall seconds of one worker and of two, loading left out, and the memory of one."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    memory = 0.0
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1", "INTENTSTORE_ASSETS": str(settings.assets_dir)}
    for _ in range(repeats):
        for amount in (1, 2):
            running = [
                subprocess.Popen(
                    [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(part), str(amount), str(count)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
                )
                for part in range(amount)
            ]  # fmt: skip
            for one in running:
                assert one.stdout is not None and one.stdout.readline().strip() == "ready"
            for one in running:
                assert one.stdin is not None
                one.stdin.write("go\n")
                one.stdin.flush()
            results = [one.communicate()[0].split() for one in running]
            walls[amount].append(max(float(result[0]) for result in results))
            memory = max(memory, *(float(result[1]) for result in results))
    ratio = statistics.median(walls[1]) / statistics.median(walls[2])
    return [
        {
            "part": "workers",
            "variant": f"{amount} worker(s), wall s for {count} sessions",
            "cpu s/prefix": spread(walls[amount]),
            "speed-up": ratio if amount == 2 else 1.0,
            "memory MiB": round(memory),
        }
        for amount in (1, 2)
    ]


def encoder(sessions: list[list[str]], repeats: int) -> list[dict[str, Any]]:
    """Texts a processor second against sentence-transformers' default, and the mean cosine between both."""
    from sentence_transformers import SentenceTransformer

    from model.encoder import TextEncoder, default_folder

    ours, theirs = TextEncoder.load(EncoderSettings()), SentenceTransformer(str(default_folder()), device="cpu")
    texts = {"titles": sorted({title for session in sessions for title in session})[:768], "sessions": [". ".join(session[-14:]) for session in sessions[:128]]}
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
    """Seconds for 10,000 answers on 12,101 items, and milliseconds an answer on a large synthetic catalogue with its recall@5."""
    from model.intent.locate import Localiser

    chooser = np.random.default_rng(0)

    def unit(rows: Any) -> Any:
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    small = Localiser([str(item) for item in range(12_101)], [""] * 12_101, unit(chooser.normal(size=(12_101, 384))), "centred", 5)
    answers = unit(chooser.normal(size=(10_000, 384)))
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        small.ground(answers)
        seconds.append(time.process_time() - started)
    rows: list[dict[str, Any]] = [{"part": "locate", "variant": "10,000 answers on 12,101 items, s", "cpu s/prefix": spread(seconds)}]
    if not large:
        return rows
    centres = unit(chooser.normal(size=(2_000, 384)).astype(np.float32))
    for kind, mix in (("no clusters", 0.0), ("clusters", 1.0)):
        vectors = np.empty((large, 384), np.float32)
        for start in range(0, large, 50_000):
            part = vectors[start : start + 50_000]
            part[:] = chooser.standard_normal(part.shape, np.float32) / 384**0.5 + mix * centres[chooser.integers(0, len(centres), len(part))]
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        catalogue = Localiser([str(item) for item in range(large)], [""] * large, vectors, "raw", 5)
        asked = unit(vectors[chooser.integers(0, large, 256)] + 0.5 * chooser.normal(size=(256, 384)) / 384**0.5)
        truth = np.argpartition(-(asked[:64] @ catalogue.vectors.T), 5, axis=1)[:, :5]
        catalogue.search(asked[:2], 5)
        for name, size in (("batch of 256", 256), ("one at a time", 1)):
            rows.append(_located(catalogue, asked, truth, f"{large:,} items, {kind}, blocked exact, {name}, ms/answer", size, repeats))
        started = time.process_time()
        if catalogue.build_index():
            built = time.process_time() - started
            row = _located(catalogue, asked, truth, f"{large:,} items, {kind}, inverted lists, one at a time, ms/answer", 1, repeats)
            rows.append({**row, "build s": round(built, 1)})
    return rows


def _located(catalogue: Any, asked: Any, truth: Any, name: str, size: int, repeats: int) -> dict[str, Any]:
    values = []
    for _ in range(repeats):
        started = time.process_time()
        found = np.concatenate([catalogue.search(asked[start : start + size], 5)[0] for start in range(0, max(size, 16), size)])
        values.append(1000 * (time.process_time() - started) / len(found))
    measured = np.concatenate([catalogue.search(asked[place : place + min(size, 64)], 5)[0] for place in range(0, 64, min(size, 64))])
    recall = float(np.mean([len(np.intersect1d(one, other)) / 5 for one, other in zip(measured, truth, strict=True)]))
    return {"part": "locate", "variant": name, "cpu s/prefix": spread(values), "recall@5": recall}


def student(repeats: int) -> list[dict[str, Any]]:
    """Milliseconds of the student's two vectors for one prefix, and with their readable grounding on 12,101 items."""
    from model.intent.encoder_source import EncoderSource
    from model.intent.locate import Localiser
    from model.intent.student import train_student

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
        rows.append({"part": "student", "variant": f"one prefix at a time, {name}", "cpu s/prefix": spread(values)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=24)
    parser.add_argument("--naive", type=int, default=6, help="of these, asked through the slow plain loop too")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", type=int, default=1_000_000, help="items of the synthetic catalogue; 0 = leave it out")
    parser.add_argument("--only", default=",".join(PARTS))
    given = parser.parse_args()
    settings = load_settings(None, os.environ)
    sessions = sessions_of(settings)
    chosen = given.only.split(",")
    rows: list[dict[str, Any]] = []
    if {"generation", "prefixes"} & set(chosen):
        llm = Llm(settings)
        if "generation" in chosen:
            rows += generation(llm, [session[:-1] for session in sessions[: given.sessions]], given.naive, given.repeats, "sessions")
        if "prefixes" in chosen:
            longer = next(session for session in sessions if len(session) >= 18)
            grown = [longer[:end] for end in range(3, 18)]
            random.Random(1).shuffle(grown)
            rows += generation(llm, grown, min(given.naive, len(grown)), given.repeats, "all prefixes of a session")
        del llm
    rest: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "workers": lambda: workers(settings, given.sessions, given.repeats), "encoder": lambda: encoder(sessions, given.repeats),
        "locate": lambda: locate(given.repeats, given.large), "student": lambda: student(given.repeats),
    }  # fmt: skip
    for part, run in rest.items():
        if part in chosen:
            rows += run()
            print(*rows, sep="\n", file=sys.stderr, flush=True)
    name = "intents" if chosen == list(PARTS) else "intents_" + "_".join(chosen)
    write_result(name, rows, {"sessions": given.sessions, "repeats": given.repeats, "threads": 1})


if __name__ == "__main__":
    main()
