"""Batched greedy generation with shared prompt heads. Gives the text of the plain loop, in a fraction of its
processor time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from model.intent.llm.chat import Chat
from model.intent.llm.kv import gathered, new_cache, use_grouped_attention
from model.intent.llm.precision import best_tokens
from model.intent.llm.prefixes import Branch, Row, common_length, rows_of

DRAFT_TOKENS = 5  # looked up in the prompt and checked in the same step; answers mostly repeat words of it
CLOSE_CALLS = 8  # best tokens of the rough scores, compared again in float32


@dataclass
class Timings:
    """Where a generator's time went, in seconds of this process's processor time, and what it computed."""

    heads: float = 0.0
    tails: float = 0.0
    steps: float = 0.0
    other: float = 0.0
    head_tokens: int = 0
    tail_tokens: int = 0
    step_tokens: int = 0
    step_count: int = 0
    output_tokens: int = 0

    def add(self, name: str, started: float) -> float:
        """Add the time since ``started`` to a part and return the time now."""
        now = time.process_time()
        setattr(self, name, getattr(self, name) + now - started)
        return now


class _Placed(NamedTuple):
    row: int
    branch: Branch


@dataclass
class _Open:
    """A prompt that is being answered."""

    number: int
    prompt: list[int]
    length: int  # tokens that the network has seen and kept
    answer: list[int] = field(default_factory=list)
    places: dict[int, list[int]] = field(default_factory=dict)


class Generator:
    """Answers prompts greedily, many at a time.

    Parameters
    ----------
    network : torch module
        A causal language model of transformers.
    chat : Chat
        Its tokenizer; says where an answer ends.
    batch_size : int
        Rows computed together.
    max_new_tokens : int
        Most tokens of an answer.
    draft_tokens : int
        Tokens guessed from the prompt and checked in one step; 0 = one token a step.
    """

    def __init__(
        self,
        network: Any,
        chat: Chat,
        *,
        batch_size: int = 16,
        max_new_tokens: int = 16,
        draft_tokens: int = DRAFT_TOKENS,
    ) -> None:
        use_grouped_attention(network)
        self._network = network
        self._body = network.base_model
        self._exact = network.get_output_embeddings().weight
        halved = any(parameter.dtype == torch.bfloat16 for parameter in network.parameters())
        self._rough = self._exact.to(torch.bfloat16) if halved else None
        self._slabs = torch.bfloat16 if halved else None
        self._chat = chat
        self._batch_size = batch_size
        self._max_new_tokens = max_new_tokens
        self._draft_tokens = draft_tokens
        self._layers = int(network.config.get_text_config().num_hidden_layers)
        self._device = next(network.parameters()).device
        self._beginning: tuple[list[int], Cache] | None = None
        self.timings = Timings()

    # One call, in this order: 1 common beginning of all prompts, once   2 rows of shared heads, batches of
    # similar length
    # 3 the tails of a batch's prompts, on copies of their head   4 steps until every answer ends; ended ones
    # leave the batch.
    def generate(
        self, prompts: Sequence[list[int]], done: Callable[[int, list[int]], None] | None = None
    ) -> list[list[int]]:
        """Answer prompts.

        Parameters
        ----------
        prompts : sequence of lists of token ids
            Whole prompts; none empty.
        done : callable, optional
            Called with number and answer as soon as one is complete.

        Returns
        -------
        list of lists of token ids
            Without the token that ended the answer.
        """
        answers: list[list[int]] = [[] for _ in prompts]
        if not prompts:
            return answers
        with torch.inference_mode():
            started = time.process_time()
            shared, memory = self._common(prompts)
            rows = sorted(rows_of(prompts, len(shared)), key=lambda row: len(row.ids))
            self.timings.add("other", started)
            for start in range(0, len(rows), self._batch_size):
                for open_ in self._batch(rows[start : start + self._batch_size], prompts, memory):
                    answers[open_.number] = open_.answer
                    if done is not None:
                        done(open_.number, open_.answer)
        return answers

    def _common(self, prompts: Sequence[list[int]]) -> tuple[list[int], Cache]:
        """Return the tokens that every prompt begins with, and their memory; kept between calls while it
        fits.
        """
        if self._beginning is not None:
            known = self._beginning[0]
            if all(len(ids) > len(known) and ids[: len(known)] == known for ids in prompts):
                return self._beginning
        first = min(prompts, key=len)
        length = min([len(first) - 1, *(common_length(first, ids) for ids in prompts)])
        if len(prompts) == 1:
            length = 0
        cache = new_cache(self._layers, max(1, length), self._slabs)
        if length:
            ids = torch.tensor([first[:length]], device=self._device)
            self._run(
                ids,
                torch.arange(length, device=self._device)[None],
                torch.ones(1, length, length, dtype=torch.bool).tril(),
                cache,
            )
        self._beginning = (first[:length], cache)
        return self._beginning

    def _batch(self, rows: list[Row], prompts: Sequence[list[int]], memory: Cache) -> list[_Open]:
        started = time.process_time()
        begun = memory.get_seq_length()
        width = max(len(row.ids) for row in rows)
        lengths = torch.tensor([len(row.ids) for row in rows])
        cache = self._spread(memory, len(rows), begun + width)
        if width:
            ids = torch.zeros((len(rows), width), dtype=torch.long)
            for place, row in enumerate(rows):
                ids[place, : len(row.ids)] = torch.tensor(row.ids)
            seen = torch.ones(width, begun + width, dtype=torch.bool).tril(begun).expand(len(rows), -1, -1)
            self._run(ids, (begun + torch.arange(width)).expand(len(rows), -1), seen, cache)
            self.timings.head_tokens += int(lengths.sum())
        self.timings.add("heads", started)
        branches = [_Placed(place, branch) for place, row in enumerate(rows) for branch in row.branches]
        finished: list[_Open] = []
        for start in range(0, len(branches), 2 * self._batch_size):
            finished += self._branches(
                branches[start : start + 2 * self._batch_size], prompts, cache, begun, width
            )
        return finished

    def _spread(self, memory: Cache, rows: int, capacity: int) -> Cache:
        if memory.get_seq_length() == 0:
            return new_cache(self._layers, capacity, self._slabs)
        return gathered(memory, torch.zeros(rows, dtype=torch.long, device=self._device), capacity)

    def _branches(
        self,
        placed: list[_Placed],
        prompts: Sequence[list[int]],
        heads: Cache,
        begun: int,
        width: int,
    ) -> list[_Open]:
        started = time.process_time()
        branches = [branch for _, branch in placed]
        tail = max(len(branch.tail) for branch in branches)
        first = begun + width
        capacity = first + tail + self._max_new_tokens * (1 + self._draft_tokens)
        cache = self._copy(heads, [row for row, _ in placed], capacity, first)
        valid = torch.zeros((len(branches), capacity), dtype=torch.bool)
        ids = torch.zeros((len(branches), tail), dtype=torch.long)
        positions = torch.zeros((len(branches), tail), dtype=torch.long)
        seen = torch.zeros((len(branches), tail, first + tail), dtype=torch.bool)
        opened: list[_Open] = []
        for place, (number, kept, rest) in enumerate(branches):
            valid[place, : begun + kept] = True
            ids[place, : len(rest)] = torch.tensor(rest)
            positions[place] = begun + kept + torch.arange(tail)
            seen[place, :, : begun + kept] = True
            seen[place, :, first:] = torch.ones(tail, tail, dtype=torch.bool).tril()
            valid[place, first : first + len(rest)] = True
            opened.append(
                _Open(
                    number,
                    prompts[number],
                    begun + kept + len(rest),
                    places=self._places(prompts[number], begun),
                )
            )
        hidden = self._run(ids, positions, seen, cache)
        last = torch.tensor([len(branch.tail) - 1 for branch in branches], device=self._device)
        self.timings.tail_tokens += sum(len(branch.tail) for branch in branches)
        best = self._best(hidden[torch.arange(len(branches), device=self._device), last][:, None])
        finished = self._accept(opened, [[] for _ in opened], best)
        self.timings.add("tails", started)
        return finished + self._steps(opened, finished, cache, valid, first + tail)

    def _copy(self, heads: Cache, rows: list[int], capacity: int, used: int) -> Cache:
        if used == 0:
            return new_cache(self._layers, capacity, self._slabs)
        return gathered(heads, torch.tensor(rows, device=self._device), capacity)

    def _steps(
        self, opened: list[_Open], ended: list[_Open], cache: Cache, valid: Tensor, used: int
    ) -> list[_Open]:
        started = time.process_time()
        finished: list[_Open] = []
        gone = {id(one) for one in ended}
        while True:
            kept = [place for place, one in enumerate(opened) if id(one) not in gone]
            if not kept:
                break
            if len(kept) < len(opened):
                rows = torch.tensor(kept)
                cache, valid = gathered(cache, rows.to(self._device), cache.layers[0].capacity), valid[rows]
                opened = [opened[place] for place in kept]
            drafts = [self._draft(one) for one in opened]
            new = 1 + max(map(len, drafts))
            ids = torch.tensor(
                [
                    [one.answer[-1], *draft] + [0] * (new - 1 - len(draft))
                    for one, draft in zip(opened, drafts, strict=True)
                ]
            )
            positions = torch.tensor([one.length for one in opened])[:, None] + torch.arange(new)
            seen = torch.cat(
                [
                    valid[:, None, :used].expand(-1, new, -1),
                    torch.ones(new, new, dtype=torch.bool).tril().expand(len(opened), -1, -1),
                ],
                2,
            )
            best = self._best(self._run(ids, positions, seen, cache))
            self.timings.step_tokens += len(opened) * new
            self.timings.step_count += 1
            before = [len(one.answer) for one in opened]
            ended = self._accept(opened, drafts, best)
            for place, one in enumerate(opened):
                taken = (
                    len(one.answer) - before[place] if id(one) not in {id(other) for other in ended} else 1
                )
                valid[place, used : used + max(1, taken)] = True
                one.length += max(1, taken)
            used += new
            finished += ended
            gone = {id(one) for one in ended}
        self.timings.add("steps", started)
        return finished

    def _accept(self, opened: list[_Open], drafts: list[list[int]], best: Tensor) -> list[_Open]:
        """Take the tokens that the network itself would have chosen one by one; return the prompts whose
        answers ended.
        """
        ended: list[_Open] = []
        for one, draft, chosen in zip(opened, drafts, best.tolist(), strict=True):
            for place, token in enumerate(chosen[: len(draft) + 1]):
                if self._chat.ends(token, one.answer):
                    ended.append(one)
                    break
                one.answer.append(token)
                self.timings.output_tokens += 1
                if len(one.answer) >= self._max_new_tokens or self._chat.closes(token):
                    ended.append(one)
                    break
                if place < len(draft) and draft[place] != token:
                    break
        return ended

    def _places(self, prompt: list[int], begun: int) -> dict[int, list[int]]:
        places: dict[int, list[int]] = {}
        if self._draft_tokens:
            for place in range(begun, len(prompt) - 1):
                places.setdefault(prompt[place], []).append(place)
        return places

    def _draft(self, one: _Open) -> list[int]:
        """Guess what follows the last token from where it stands in the prompt, with the longest equal run
        before it.
        """
        room = min(self._draft_tokens, self._max_new_tokens - len(one.answer) - 1)
        candidates = one.places.get(one.answer[-1])
        if room <= 0 or not candidates:
            return []
        best, longest = candidates[-1], 0
        for place in reversed(candidates):
            run = 0
            while (
                run < len(one.answer) and place - run >= 0 and one.prompt[place - run] == one.answer[-1 - run]
            ):
                run += 1
            if run > longest:
                best, longest = place, run
        return one.prompt[best + 1 : best + 1 + room]

    def _run(self, ids: Tensor, positions: Tensor, seen: Tensor, cache: Cache) -> Tensor:
        output = self._body(
            input_ids=ids.to(self._device),
            position_ids=positions.to(self._device),
            attention_mask=seen[:, None].to(self._device),
            past_key_values=cache,
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _best(self, hidden: Tensor) -> Tensor:
        return best_tokens(hidden, self._exact, self._rough, CLOSE_CALLS)
