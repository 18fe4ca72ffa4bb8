"""Generation of intents: processor time of each variant against the paper's loop, and two workers against
one; used by `intents`.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from _report import spread
from feature_repo.contract.assets import fetch as assets
from feature_repo.contract.settings import LlmSettings, Settings
from model.intent.ask.llm import prompt_ids
from model.intent.llm.chat import Chat
from model.intent.llm.generate import Generator
from model.intent.llm.weights import load_network, prepare
from model.intent.prompts import TitleCutter, template

LONGEST = 16


def sessions_of(settings: Settings) -> list[list[str]]:
    """ML-100K's sessions (10-minute rule) as titles with year, shuffled by a fixed seed."""
    folder = assets.fetch("ml-100k", settings.assets_dir)
    rows = [
        line.split("\t") for line in (folder / "ml-100k.item").read_text(encoding="utf-8").splitlines()[1:]
    ]
    titles = {row[0]: f"{row[1]} ({row[2]})" for row in rows}
    clicks: dict[str, list[tuple[float, str]]] = {}
    for line in (folder / "ml-100k.inter").read_text(encoding="utf-8").splitlines()[1:]:
        user, item, _, moment = line.split("\t")
        clicks.setdefault(user, []).append((float(moment), item))
    found: list[list[str]] = []
    for user in sorted(clicks):
        last = float("-inf")
        for at, clicked in sorted(clicks[user]):
            if at - last > 600:
                found.append([])
            found[-1].append(titles[clicked])
            last = at
    found = [session for session in found if len(session) >= 3]
    random.Random(7).shuffle(found)
    return found


def naive(network: Any, chat: Chat, prompts: list[list[int]]) -> list[list[int]]:
    """The paper's loop: one prompt at a time, through transformers' own generate."""
    answers = []
    with torch.inference_mode():
        for ids in prompts:
            size = len(ids)
            stop = [
                lambda seen, scores, size=size, **_: torch.tensor([_ended(chat, seen[0, size:].tolist())])
            ]
            given = network.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=LONGEST,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=sorted(chat.stop_ids),
                stopping_criteria=stop,
            )[0, len(ids) :].tolist()
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
        self.plain = {
            dtype: load_network(self.folder, "float32", "cpu").to(getattr(torch, dtype))
            for dtype in ("float32", "bfloat16")
        }
        self.shared = {dtype: load_network(self.folder, dtype, "cpu") for dtype in ("float32", "bfloat16")}

    def prompts(self, prefixes: list[list[str]]) -> list[list[int]]:
        return [
            ids
            for titles in prefixes
            for ids in prompt_ids(self.chat, self.form, [self.cut(title) for title in titles[-20:]], 7000)
        ]

    def generator(self, dtype: str, batch: int, draft: int) -> Generator:
        return Generator(
            self.shared[dtype], self.chat, batch_size=batch, max_new_tokens=LONGEST, draft_tokens=draft
        )

    def texts(self, answers: list[list[int]]) -> list[str]:
        return [self.chat.text(ids) for ids in answers]


def generation(
    llm: Llm, prefixes: list[list[str]], few: int, repeats: int, name: str
) -> list[dict[str, Any]]:
    """Processor seconds a prefix of each variant, and the share of answers equal to those of the plain loop
    in float32.
    """
    prompts = llm.prompts(prefixes)
    variants: dict[str, Any] = {
        "paper's loop, float32": lambda: naive(llm.plain["float32"], llm.chat, prompts[: 2 * few]),
        "paper's loop, bfloat16": lambda: naive(llm.plain["bfloat16"], llm.chat, prompts[: 2 * few]),
    }
    parts: dict[str, Any] = {}
    for dtype in ("float32", "bfloat16"):
        for draft in (0, 5):
            variants[f"shared heads, {dtype}, {draft} drafts"] = lambda dtype=dtype, draft=draft: _timed(
                llm, prompts, dtype, draft, parts
            )
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    answers: dict[str, list[str]] = {}
    for repeat in range(repeats):
        for variant, run in variants.items():
            started = time.process_time()
            found = run()
            seconds[variant].append((time.process_time() - started) / (len(found) / 2))
            answers[variant] = llm.texts(found)
            print(
                f"{name}, repeat {repeat + 1}, {variant}: {seconds[variant][-1]:.3f} processor s",
                file=sys.stderr,
                flush=True,
            )
    base = statistics.median(seconds["paper's loop, float32"])
    truth = answers["paper's loop, float32"]
    rows = []
    for variant, values in seconds.items():
        same = [one == other for one, other in zip(answers[variant], truth, strict=False)]
        rows.append(
            {
                "part": name,
                "variant": variant,
                "cpu s/prefix": spread(values),
                "speed-up": base / statistics.median(values),
                "same text": sum(same) / len(same),
                "prefixes": len(answers[variant]) // 2,
                **parts.get(variant, {}),
            }
        )
    return rows


def _timed(
    llm: Llm, prompts: list[list[int]], dtype: str, draft: int, parts: dict[str, Any]
) -> list[list[int]]:
    generator = llm.generator(dtype, 16, draft)
    answers = generator.generate(prompts)
    spent = generator.timings
    total = spent.heads + spent.tails + spent.steps + spent.other
    parts[f"shared heads, {dtype}, {draft} drafts"] = {
        "heads": f"{spent.heads / total:.0%}",
        "tails": f"{spent.tails / total:.0%}",
        "steps": f"{spent.steps / total:.0%}",
        "tokens a step": f"{spent.output_tokens / max(1, spent.step_count):.1f}",
    }
    return answers


WORKER = """
import sys, time, resource
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[1:]
import os
from pathlib import Path
import torch
from _intents_generation import sessions_of
from feature_repo.contract.settings import load_settings
from model.intent.ask.llm import LocalLlm
torch.set_num_threads(1)
settings = load_settings(Path(os.devnull), os.environ)
part, parts, count = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
llm = LocalLlm(settings)
chosen = [[str(title) for title in session[:-1][-20:]] for session in sessions_of(settings)[:count]][part::parts]
print("ready", flush=True); sys.stdin.readline()
started = time.monotonic(); llm.answer(chosen)
print(time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
"""  # noqa: E501


def workers(settings: Settings, count: int, repeats: int) -> list[dict[str, Any]]:
    """Wall seconds of one worker and of two, loading left out, and the memory of one."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    memory = 0.0
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "OMP_NUM_THREADS": "1",
        "INTENTSTORE_ASSETS": str(settings.assets_dir),
    }
    for _ in range(repeats):
        for amount in (1, 2):
            running = [
                subprocess.Popen(
                    [
                        sys.executable,
                        "-c",
                        WORKER,
                        str(Path(__file__).parent),
                        str(part),
                        str(amount),
                        str(count),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
                for part in range(amount)
            ]
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
