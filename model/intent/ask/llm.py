"""The intent source `llm`, a local LLM: titles to answers. Knows nothing of distribution and storage."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.contract.lazy import lazy
from feature_repo.contract.settings import Settings
from model.intent.answer.reading import ANY_TITLE, read
from model.intent.ask.answers import Answer, Failure, Identity
from model.intent.ground.known_titles import KnownTitles
from model.intent.llm.chat import Chat
from model.intent.llm.weights import identity, load_network, prepare, read_config
from model.intent.prompts import UNTITLED, PromptTemplate, count_tokens, template
from model.text.encoder import default_folder

if TYPE_CHECKING:
    from model.intent.llm import generate
else:
    generate = lazy("model.intent.llm.generate")

MEASURED_TITLES = 50  # the longest by their bytes; one of them is the longest by its tokens, or nearly
# how many more tokens a title may have in the endpoint's vocabulary than in the one at hand
FOREIGN_TOKENS = 1.5
END_TOKENS = 2  # closing quote and end
LONGEST_BOUND = 128  # an item whose title is longer is a description
# of the model's context; the rest is for the answer and for tokenizers that count differently
CONTEXT_SHARE = 0.9


def token_bound(settings: Settings, titles: KnownTitles = ANY_TITLE) -> int:
    """Return how many tokens an answer may have: what is set, and at least those of the catalogue's longest
    titles.

    Parameters
    ----------
    settings : Settings
        ``endpoint.max_tokens`` stands for itself with the source ``endpoint``; else ``llm.max_new_tokens`` is
        the least.
    titles : KnownTitles
        Of the catalogue.
    """
    if settings.intents.source == "endpoint" and settings.endpoint.max_tokens is not None:
        return settings.endpoint.max_tokens
    longest = sorted(titles.titles, key=lambda title: len(title.encode("utf-8", "replace")))[
        -MEASURED_TITLES:
    ]
    if not longest:
        return settings.llm.max_new_tokens
    tokens = count_tokens(tokenizer_file(settings), longest)
    if settings.intents.source == "endpoint":
        # a larger model may know the whole title of which the prompt shows the beginning
        tokens = int(tokens * FOREIGN_TOKENS)
    else:
        tokens = min(tokens, settings.intents.max_title_tokens)
    return max(settings.llm.max_new_tokens, min(tokens + END_TOKENS, LONGEST_BOUND))


def tokenizer_file(settings: Settings) -> Path:
    """Return the tokenizer that cuts titles: the local LLM's own, or the encoder's where there is none or it
    is elsewhere.
    """
    if settings.intents.source == "llm":
        file = prepare(settings.llm, settings.assets_dir) / "tokenizer.json"
        if file.is_file():
            return file
    return (settings.encoder.model or default_folder()) / "tokenizer.json"


class LocalLlm:
    """A loaded LLM that answers prefixes.

    Parameters
    ----------
    settings : Settings
        ``llm`` and ``intents``.
    titles : KnownTitles
        Of the catalogue, as for ``EndpointLlm``.

    Raises
    ------
    ModelMissingError
        If the model cannot be loaded.
    """

    name = "llm"

    @staticmethod
    def identity(settings: Settings) -> Identity:
        """Return which weights answer, and how; raises ``ModelMissingError`` where they are missing."""
        decoding = (
            f"greedy, {settings.llm.max_new_tokens} tokens, {settings.llm.dtype}, titles "
            f"{settings.intents.max_title_tokens}"
        )
        return Identity(identity(prepare(settings.llm, settings.assets_dir)), decoding)

    def __init__(self, settings: Settings, titles: KnownTitles = ANY_TITLE) -> None:
        import torch

        if settings.llm.device == "cpu":
            torch.set_num_threads(settings.llm.threads)
        folder = prepare(settings.llm, settings.assets_dir)
        self.chat = Chat(folder)
        self._template = template(settings.intents.prompt_version)
        self._titles, self._bound = titles, token_bound(settings, titles)
        self.generator = generate.Generator(
            load_network(folder, settings.llm.dtype, settings.llm.device),
            self.chat,
            batch_size=settings.llm.batch_size,
            max_new_tokens=self._bound,
        )
        context = int(read_config(folder).get("max_position_embeddings") or 2048)
        self._room = int(context * CONTEXT_SHARE) - self._bound

    def answer(
        self, prefixes: Sequence[Sequence[str]], done: Callable[[int, Answer], None] | None = None
    ) -> list[Answer]:
        """Answer both views of prefixes, each by its prompt, or both by one neutral prompt.

        Parameters
        ----------
        prefixes : sequence of sequences of str
            Titles as ``TitleCutter`` gives them, oldest first, none empty.
        done : callable, optional
            Called with place and answer as soon as both views of a prefix are complete.

        Returns
        -------
        list of Answer
            One a prefix, in order.
        """
        prompts = [
            ids for titles in prefixes for ids in prompt_ids(self.chat, self._template, titles, self._room)
        ]
        asked = len(self._template.asked)
        raw: list[list[int] | None] = [None] * len(prompts)
        answers: list[Answer | None] = [None] * len(prefixes)
        started = time.monotonic()

        def collect(number: int, ids: list[int]) -> None:
            raw[number] = ids
            place = number // asked
            own = slice(asked * place, asked * (place + 1))
            given = [one for one in raw[own] if one is not None]
            if len(given) == asked:
                answers[place] = self._answer(prompts[own], given, (time.monotonic() - started) / (1 + place))
                if done is not None:
                    done(place, answers[place] or Answer("", "", 0, 0, 0.0))

        self.generator.generate(prompts, collect)
        return [answer for answer in answers if answer is not None]

    def ask(self, prefixes: Sequence[Sequence[str]], keep: Callable[[int, Answer], None]) -> list[Failure]:
        """Ask about both views of prefixes.

        Parameters
        ----------
        prefixes : sequence of sequences of str
            As for ``answer``.
        keep : callable
            Called with place and answer for every prefix whose views both have a name.

        Returns
        -------
        list of Failure
            The others; they are to be asked again by a later run.
        """

        def done(place: int, answer: Answer) -> None:
            if not answer.failure:
                keep(place, answer)

        return [
            Failure(place, answer.failure)
            for place, answer in enumerate(self.answer(prefixes, done))
            if answer.failure
        ]

    def _answer(self, prompts: Sequence[list[int]], given: Sequence[list[int]], seconds: float) -> Answer:
        long, short = (
            read(self.chat.raw(ids), self._titles, cut=len(ids) >= self._bound)
            for ids in (given[0], given[-1])
        )
        tokens = sum(map(len, prompts)), sum(map(len, given))
        return Answer(long.text, short.text, *tokens, seconds, long.kind, short.kind)


def prompt_ids(chat: Chat, form: PromptTemplate, titles: Sequence[str], room: int) -> list[list[int]]:
    """Return the token ids of a prefix's prompts.

    A title whose text would become one of the model's special tokens, in spite of ``safe_title``, is shown as
    untitled, so that no title can end the prompt or speak in another role; the oldest titles go when the
    prompt is longer than ``room`` tokens.

    Parameters
    ----------
    chat : Chat
        The model's format.
    form : PromptTemplate
        The template.
    titles : sequence of str
        Oldest first.
    room : int
        Most tokens of a prompt.

    Returns
    -------
    list of lists of int
        Long, then short; a neutral prompt alone.
    """
    shown = list(titles)
    allowed = chat.specials_in(
        chat.ids(chat.render(form.system, form.user_text([UNTITLED], "long"), form.lead))
    )
    while True:
        both = [
            chat.ids(chat.render(form.system, form.user_text(shown, view), form.lead)) for view in form.asked
        ]
        if any(chat.specials_in(ids) != allowed for ids in both):
            if all(title == UNTITLED for title in shown):
                return both
            suspect = [
                chat.specials_in(chat.ids(title)) > chat.specials_in(chat.ids(UNTITLED)) for title in shown
            ]
            shown = [
                UNTITLED if bad or not any(suspect) else title
                for title, bad in zip(shown, suspect, strict=True)
            ]
        elif len(shown) > 1 and max(map(len, both)) > room:
            shown = shown[max(1, len(shown) // 4) :]
        else:
            return both
