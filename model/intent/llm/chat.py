"""The LLM's own dialogue format: messages to token ids, and token ids to an answer. Knows nothing of
intents.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.intent.answer.reading import read
from model.intent.llm.weights import ModelMissingError, silence

log = logging.getLogger("intentstore.intents")
PLAIN = "{system}\n\n{user}\n\nAnswer:"  # for models without a chat template


class Chat:
    """Tokenizer and chat template of one model.

    Parameters
    ----------
    folder : Path
        A Hugging Face folder.

    Raises
    ------
    ModelMissingError
        If it holds no tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        silence()
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ModelMissingError(
                f"llm.model folder '{folder}' has no readable tokenizer ({str(error).splitlines()[0][:200]})"
            ) from None
        self._has_template = bool(getattr(self._tokenizer, "chat_template", None))
        if not self._has_template:
            log.warning(
                "the model in '%s' has no chat template: prompts are given as plain text", folder.name
            )
        self._specials = frozenset(self._tokenizer.all_special_ids) | self._added_specials()
        self.stop_ids = self._stop_ids()

    def render(self, system: str, user: str, lead: str = "") -> str:
        """Return the whole prompt as text, up to where the model goes on; ``lead`` is the beginning of its
        answer.
        """
        if not self._has_template:
            return PLAIN.format(system=system, user=user).strip() + (f" {lead}" if lead else "")
        return self._rendered(system, user) + lead

    def _rendered(self, system: str, user: str) -> str:
        messages = [{"role": "system", "content": system}] * bool(system) + [
            {"role": "user", "content": user}
        ]
        try:
            return str(
                self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            )
        except Exception as error:  # noqa: BLE001
            # jinja's own error class; templates without a system role raise it (Gemma)
            log.debug("chat template refuses a system message (%s); it goes into the user's", error)
            merged = [{"role": "user", "content": f"{system}\n\n{user}"}]
            return str(
                self._tokenizer.apply_chat_template(merged, tokenize=False, add_generation_prompt=True)
            )

    def ids(self, text: str) -> list[int]:
        """Return token ids of a rendered prompt; its own special tokens are read as such."""
        encoded: list[int] = self._tokenizer(text, add_special_tokens=not self._has_template)["input_ids"]
        return encoded

    def specials_in(self, ids: Sequence[int]) -> int:
        """Return how many special tokens there are; more than the empty prompt has means that a title forged
        one.
        """
        return sum(token in self._specials for token in ids)

    def text(self, ids: Sequence[int]) -> str:
        """Return generated ids as the name that they give."""
        return clean_answer(self.raw(ids))

    def raw(self, ids: Sequence[int]) -> str:
        """Return generated ids as text, without special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def ends(self, token: int, answer: Sequence[int]) -> bool:
        """Whether a token stands after the answer: the model's own end, or a line break after anything
        else.
        """
        if token in self.stop_ids:
            return True
        return token in self._line_ends and any(other not in self._line_ends for other in answer)

    def closes(self, token: int) -> bool:
        """Whether a token is the answer's last: it holds a closing quote, and often a bracket of the name
        before it.
        """
        return token in self._quotes

    def _stop_ids(self) -> frozenset[int]:
        self._line_ends = frozenset(
            token
            for text, token in self._tokenizer.get_vocab().items()
            if "\n" in text or "Ċ" in text or "<0x0A>" in text
        )  # byte-level and byte-fallback vocabularies write a line break as Ċ and <0x0A>
        self._quotes = frozenset(token for text, token in self._tokenizer.get_vocab().items() if '"' in text)
        named = {"<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "</s>", "<|endoftext|>"}
        found = {token for text, token in self._tokenizer.get_added_vocab().items() if text in named}
        end = self._tokenizer.eos_token_id
        return frozenset(found | ({end} if end is not None else set()))

    def _added_specials(self) -> frozenset[int]:
        added = getattr(self._tokenizer, "added_tokens_decoder", {})
        return frozenset(int(token) for token, entry in added.items() if entry.special)


def clean_answer(text: str) -> str:
    r"""Return the name that an answer gives; empty where it gives none. See ``model.intent.answer.reading``.

    Examples
    --------
    >>> clean_answer('\n1. "Toy Story (1995)".\nBecause ...')
    'Toy Story (1995)'
    >>> clean_answer('Jaws (1975)", because')
    'Jaws (1975)'
    >>> clean_answer("   ")
    ''
    """
    return read(text).text
