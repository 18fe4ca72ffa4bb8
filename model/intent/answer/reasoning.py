"""Takes off what a language model writes besides its answer: thinking, channels, special tokens, non-text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# Ways in which models mark thinking: DeepSeek, Qwen, Magistral, Kimi, Seed, Cohere, Granite, tags of prompts.
_NAMES = (
    r"(?:think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad|seed:think"
    r"|chain[-_ ]of[-_ ]thought|cot|inner[-_ ]monologue)"
)
_LESS, _GREATER = r"(?:<|&lt;)\s*", r"(?:\s[^<>]{0,60})?\s*(?:>|&gt;)"  # as pages write them, too; attributes
_OPEN: Final = (
    rf"(?:{_LESS}{_NAMES}{_GREATER}|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|begin_of_thought\|>"
    r"|<unused94>(?:thought)?"
    r"|^\s*here is my thought process:)"
)
_CLOSE: Final = (
    rf"(?:{_LESS}/\s*{_NAMES}\s*(?:>|&gt;)|\[/THINK\]|◁/think▷|<unused95>|<\|END_THINKING\|>"
    r"|<\|end_of_thought\|>|here is my response:)"
)
_OPENING = re.compile(_OPEN, re.IGNORECASE)
_CLOSING = re.compile(_CLOSE, re.IGNORECASE)
# Harmony channels, with their special tokens or as servers leave them when they strip those.
_FINAL = re.compile(
    r"<\|?channel\|?>\s*final\b[^<]{0,200}(?:<\|constrain\|>[^<]{0,50})?<\|message\|>", re.IGNORECASE
)
_CHANNEL = re.compile(r"<\|?channel\|?>\s*(?:analysis|commentary|thought|thinking)\b", re.IGNORECASE)
_CHANNEL_END = re.compile(r"<channel\|>")
_BARE_FINAL = re.compile(r"\A\s*(?:analysis\S.*?assistant\s*final|assistantfinal)\s*", re.DOTALL)
_BARE_ANALYSIS = re.compile(r"\A\s*analysis(?=[A-Z])")
_ENDS = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|end|endoftext|end_of_text|return|end_of_turn|END_RESPONSE|END_OF_TURN_TOKEN)\|>|</s>|<end_of_turn>|<eos>|<｜end▁of▁sentence｜>|\[/?INST\]"
)
_MARKS = re.compile(
    r"<\|[^<>|]{1,40}\|>|<｜[^<>｜]{1,40}｜>|<(?:s|bos|pad|unk)>|<start_of_turn>(?:model)?|\A\s*assistant\s*\n"
)
_SOLUTION = re.compile(r"<\|begin_of_solution\|>(.*?)(?:<\|end_of_solution\|>|\Z)", re.DOTALL)
_WRAPPED = re.compile(
    r"<(answer|final|final_answer|output|response|item|title|result)>(.*?)(?:</\1>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_NO_TEXT = re.compile("[\ud800-\udfff\ufeff\ufffe\uffff]")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f]")


@dataclass(frozen=True, slots=True)
class Said:
    """What is left of an answer.

    Attributes
    ----------
    text : str
        Without thinking and marks; line breaks stay.
    thought : bool
        Whether thinking was taken off.
    unfinished : bool
        Whether the model still thought when it was cut: nothing after it is an answer.
    """

    text: str
    thought: bool
    unfinished: bool


def whole(text: str) -> str:
    r"""Return a text that every file can hold: lone surrogates go, control characters become spaces.

    Examples
    --------
    >>> whole("Ja\ud800ws\x00 (1975)")
    'Jaws  (1975)'
    """
    return _CONTROLS.sub(" ", _NO_TEXT.sub("", text))


def without_reasoning(text: str) -> Said:
    r"""Take off everything that a model wrote besides its answer.

    A lone end mark ends thinking whose beginning the server or the chat template kept; a lone beginning was
    cut.

    Examples
    --------
    >>> without_reasoning("<think>Sharks, so ...</think>\n\nJaws").text
    'Jaws'
    >>> without_reasoning("The list is about sharks.\n</think>\nJaws").text
    'Jaws'
    >>> without_reasoning(
    ...     "<|channel|>analysis<|message|>Hm<|end|><|channel|>final<|message|>Jaws<|return|>"
    ... ).text
    'Jaws'
    >>> without_reasoning("<think>Okay, so the user")
    Said(text='', thought=True, unfinished=True)
    """
    inner = _without_channels(whole(text))
    kept, thought, unfinished = inner.text, inner.thought, inner.unfinished
    less, closed, opened = kept, list(_CLOSING.finditer(kept)), _OPENING.search(kept)
    if closed:
        before = kept[: opened.start()] if opened else ""
        less = kept[closed[-1].end() :].strip() or before  # some models think after they have answered
        opened = _OPENING.search(less)
    if opened:
        less, unfinished = less[: opened.start()], True
    thought = thought or less != kept
    solution = _SOLUTION.search(less)
    less = _without_marks(solution.group(1) if solution else less)
    wrapped = _WRAPPED.search(less)
    if wrapped and wrapped.group(2).strip():
        less = wrapped.group(2)
    return Said(less.strip(), thought, unfinished and not less.strip())


def shows_reasoning(text: str) -> bool:
    """Tell whether a stored answer is thinking or a special token: older versions took the first line."""
    said = without_reasoning(text)
    return said.thought or bool(_MARKS.search(text) or _ENDS.search(text))


def _without_channels(text: str) -> Said:
    finals = list(_FINAL.finditer(text))
    if finals:
        return Said(text[finals[-1].end() :], True, False)
    bare = _BARE_FINAL.match(text)
    if bare:
        return Said(text[bare.end() :], True, False)
    channel = _CHANNEL.search(text)
    if channel:
        ends = list(_CHANNEL_END.finditer(text, channel.end()))
        return (
            Said(text[ends[-1].end() :], True, False) if ends else Said(text[: channel.start()], True, True)
        )
    analysis = _BARE_ANALYSIS.match(text)
    return Said("", True, True) if analysis else Said(text, False, False)


def _without_marks(text: str) -> str:
    """Cut at the first end mark that stands behind some text, and drop all other marks."""
    for end in _ENDS.finditer(text):
        if _MARKS.sub("", text[: end.start()]).strip():
            text = text[: end.start()]
            break
    return _MARKS.sub(" ", _ENDS.sub(" ", text)).strip()
