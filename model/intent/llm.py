"""The local LLM as a whole: settings to recipe, titles to answers. Distribution and storage are the job's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from feature_repo.contract.settings import Settings
from model.encoder import default_folder, encoder_name
from model.intent.cache import Recipe
from model.intent.chat import Chat
from model.intent.prompts import UNTITLED, PromptTemplate, template
from model.intent.weights import ModelMissingError, identity, load_network, prepare, read_config

CONTEXT_SHARE = 0.9  # of the model's context; the rest is for the answer and for tokenizers that count differently


@dataclass(frozen=True)
class Answer:
    """What the LLM said about one prefix.

    Attributes
    ----------
    long_text, short_text : str
        One line each; empty when the model said nothing, equal where the prompt is neutral.
    input_tokens, output_tokens : int
        Of all prompts of the prefix.
    seconds : float
        Wall time from the start of the batch to this answer, over the answers of the batch.
    """

    long_text: str
    short_text: str
    input_tokens: int
    output_tokens: int
    seconds: float


def recipe_of(settings: Settings) -> Recipe | None:
    """Return what answers under these settings depend on; None when no LLM is configured.

    Raises
    ------
    ModelMissingError, EncoderError, PromptError
        If the LLM, the encoder or the prompt version is missing.
    """
    source = settings.intents.source
    if source in ("encoder", "none"):
        return None
    prompt_version = template(settings.intents.prompt_version).version
    encoder = encoder_name(settings.encoder)
    shown = settings.intents.max_items
    if source == "endpoint":
        if not settings.endpoint.url:
            raise ModelMissingError("intents.source is 'endpoint', but endpoint.url is not set; give the server's address, e.g. with INTENTSTORE_ENDPOINT__URL")
        model = settings.endpoint.model or "default"
        decoding = f"temperature 0, {settings.llm.max_new_tokens} tokens, titles {settings.intents.max_title_tokens}"
        return Recipe(source, model, settings.llm.revision, prompt_version, decoding, encoder, shown)
    folder = prepare(settings.llm, settings.assets_dir)
    decoding = f"greedy, {settings.llm.max_new_tokens} tokens, {settings.llm.dtype}, titles {settings.intents.max_title_tokens}"
    return Recipe(source, identity(folder), settings.llm.revision, prompt_version, decoding, encoder, shown)


def tokenizer_file(settings: Settings) -> Path:
    """Return the tokenizer that cuts titles: the local LLM's own, or the encoder's where there is none or it is elsewhere."""
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

    Raises
    ------
    ModelMissingError
        If the model cannot be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        import torch

        from model.intent.generate import Generator

        if settings.llm.device == "cpu":
            torch.set_num_threads(settings.llm.threads)
        folder = prepare(settings.llm, settings.assets_dir)
        self.chat = Chat(folder)
        self._template = template(settings.intents.prompt_version)
        self.generator = Generator(
            load_network(folder, settings.llm.dtype, settings.llm.device), self.chat,
            batch_size=settings.llm.batch_size, max_new_tokens=settings.llm.max_new_tokens,
        )  # fmt: skip
        context = int(read_config(folder).get("max_position_embeddings") or 2048)
        self._room = int(context * CONTEXT_SHARE) - settings.llm.max_new_tokens

    def answer(self, prefixes: Sequence[Sequence[str]], done: Callable[[int, Answer], None] | None = None) -> list[Answer]:
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
        prompts = [ids for titles in prefixes for ids in prompt_ids(self.chat, self._template, titles, self._room)]
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

    def _answer(self, prompts: Sequence[list[int]], given: Sequence[list[int]], seconds: float) -> Answer:
        return Answer(self.chat.text(given[0]), self.chat.text(given[-1]), sum(map(len, prompts)), sum(map(len, given)), seconds)


def prompt_ids(chat: Chat, form: PromptTemplate, titles: Sequence[str], room: int) -> list[list[int]]:
    """Return the token ids of a prefix's prompts.

    A title whose text would become one of the model's special tokens, in spite of ``safe_title``, is shown as untitled, so
    that no title can end the prompt or speak in another role; the oldest titles go when the prompt is longer than ``room`` tokens.

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
    allowed = chat.specials_in(chat.ids(chat.render(form.system, form.user_text([UNTITLED], "long"), form.lead)))
    while True:
        both = [chat.ids(chat.render(form.system, form.user_text(shown, view), form.lead)) for view in form.asked]
        if any(chat.specials_in(ids) != allowed for ids in both):
            if all(title == UNTITLED for title in shown):
                return both
            suspect = [chat.specials_in(chat.ids(title)) > chat.specials_in(chat.ids(UNTITLED)) for title in shown]
            shown = [UNTITLED if bad or not any(suspect) else title for title, bad in zip(shown, suspect, strict=True)]
        elif len(shown) > 1 and max(map(len, both)) > room:
            shown = shown[max(1, len(shown) // 4) :]
        else:
            return both
