"""The set phrases around a name in a model's answer: refusals, preambles, labels, sentences."""

from __future__ import annotations

import re
from typing import Final

LONGEST_PEELED: Final = 300  # characters; a longer line is an essay, whose sentences say nothing of its form
_THING = r"(?:item|product|movie|film|title|book|song|game|show|article|option|name|choice)"

_REFUSAL = re.compile(
    r"""^\W*(?:
      i\s*(?:['’]m|\s+am)\s+(?:very\s+|so\s+|really\s+)?(?:sorry|afraid|unable|not\s+able|just\s+an?\s+ai|an\s+ai)\b
    | (?:i\s+)?(?:cannot|can\s*not|can['’]t|couldn['’]t|could\s+not|won['’]t|don['’]t\s+have|do\s+not\s+have|don['’]t\s+know|do\s+not\s+know)
      \s+\S+
    | sorry\s*[,.!]?\s*(?:but\s+)?(?:i|we|there|no|as)\b
    | (?:my\s+)?apologies\b | i\s+apologi[sz]e\b | unfortunately\b
    | as\s+an?\s+(?:ai|artificial|large\s+language|language)\b
    | (?:there\s+is\s+|there['’]s\s+)?(?:not\s+enough|insufficient|no\s+sufficient)\s+(?:information|context|data|details?)\b
    | (?:it\s+is|it['’]s)\s+(?:impossible|not\s+possible|difficult|hard)\s+to\b
    | (?:please|could\s+you|can\s+you|would\s+you)\s+(?:please\s+)?(?:provide|clarify|specify|share|tell|give|like\s+me)\b
    | how\s+can\s+i\s+(?:help|assist)\b
    | lo\s+siento\b.* | d[ée]sol[ée]\b.* | es\s+tut\s+mir\s+leid\b.* | (?:抱歉|对不起|很抱歉|申し訳|すみません|죄송).*
    )""",  # noqa: E501
    re.IGNORECASE | re.VERBOSE,
)
_NOTHING = re.compile(
    r"^\W*(?:none|n/?a|unknown|null|nil|undefined|nothing|nan|no\s+(?:item|answer|guess|idea|recommendation|response)|not\s+sure|unsure|idk|empty|error|json|plaintext|untitled)?\W*$",
    re.IGNORECASE,
)
_OPENER = re.compile(
    r"""^\W*(?:
      (?P<greeting>(?:sure|certainly|of\s+course|absolutely|okay|ok|alright|great(?:\s+question)?|understood|got\s+it
        |here\s+you\s+go|here\s+it\s+is)\s*(?:[!,.:—–]+|-+(?!\w)))
    | here\s+(?:is|are|['’]s|you\s+go)\b | here['’]s\b
    | (?:based\s+on|given|considering|from|looking\s+at|according\s+to|judging\s+(?:by|from))\s+
      (?:the|this|these|that|your|their|what|previous|past)\b
    | items\s+a\s+user\s+chose\b | without\s+any\s+explanation\b
    | (?:let\s+me|let['’]s)\s+\w+ | (?:i|we)\s+(?:need|have|should)\s+to\b
    | (?:hmm+|wait)\s*,\s | first\s*,?\s+(?:i|we|let)\b
    | the\s+user\s+(?:seems|appears|clicked|viewed|watched|bought|has\s+(?:clicked|viewed|watched|bought|chosen|been))\b
    | (?:hmm+|well|so)\s*,?\s+(?:so\s+)?(?:the\s+user|let|i|we|this)\b
    | (?:chain\s+of\s+thought|reasoning|thinking(?:\s+process)?|thought(?:\s+process)?|explanation|analysis|note|rationale)\s*:
    | (?:possible|some|other|my)\s+(?:\w+\s+)?(?:guesses|options|suggestions|recommendations|items|candidates)\b
    )""",  # noqa: E501
    re.IGNORECASE | re.VERBOSE,
)
_ASIDE = re.compile(
    r"^\W*(?:(?:reasoning|thinking(?:\s+process)?|thought(?:\s+process)?|explanation|analysis|note|rationale|confidence|why|reason)\W*:|because\b)",
    re.IGNORECASE,
)
_LABEL = re.compile(
    rf"""^\W*(?:(?:so|therefore|thus|hence),?\s+)?(?:(?:the|my|your|one|final|best|next|likely|predicted|recommended|suggested|top|most|single
      |short|long|term|short-term|long-term|possible)\s+)*
      (?:answer|guess|prediction|recommendation|suggestion|output|result|response|intent|{_THING})\s*(?:name|title|\#?\d{{1,3}})?
      (?:\s*\**\s*[:=]\s*\**\s*|\s+(?:is|would\s+be|could\s+be|might\s+be|may\s+be|will\s+be)\s*:?\s+)(?P<value>\S.*)$""",
    re.IGNORECASE | re.VERBOSE,
)
_SENTENCE = re.compile(
    rf"""^\W*(?:
      (?:i|we)\s*(?:['’]d|\s+would|\s+will|['’]ll|\s+might)?\s*(?:also\s+|probably\s+)?
      (?:guess|suggest|recommend|predict|say|think|believe|choose|pick|go\s+with)\s+
      (?:that\s+)?(?:(?:the|this|a)\s+)?(?:user\s+(?:(?:would|will|might|may|could)\s+)?(?:(?:probably|likely|also|next)\s+)*
        (?:wants?|likes?|choose|chooses|be\s+interested\s+in|buy|watch|need|needs)\s+(?:to\s+(?:see|buy|watch|have|read|play|get)\s+)?(?:is\s+)?)?
      (?:(?:the|it['’]s|it\s+is|that|one)\s+)?(?:{_THING}\s+)?(?:is\s+|would\s+be\s+|named\s+|called\s+)?:?\s*
    | the\s+user\s+(?:(?:would|will|might|may|could|is)\s+)?(?:(?:probably|likely|also|most|next)\s+)*(?:to\s+)?
      (?:wants?|likes?|enjoy|choose|chooses|interested\s+in|be\s+interested\s+in|buy|watch|needs?)\s+
      (?:(?:to|in|next)\s+)*(?:(?:see|buy|watch|have|read|play|get|choose)\s+)?(?:(?:the\s+)?{_THING}\s+)?(?:is\s+)?:?\s*
    | (?:the|one|an?)\s+(?:\w+\s+){{0,3}}{_THING}\s+(?:that\s+)?(?:the|this|a)\s+user\s+
      (?:\w+\s+){{1,8}}?(?:is|be)\s*:?\s+
    | it\s+(?:is|would\s+be|could\s+be|might\s+be)\s+(?:likely\s+|probably\s+)?
    | (?:perhaps|maybe|probably|possibly|likely)\s*,?\s+
    )(?P<value>\S.*)$""",  # noqa: E501
    re.IGNORECASE | re.VERBOSE,
)
_AFTER = re.compile(
    r"(?:\s+[-–—]\s+|\s*[,;.]\s+|\s+)(?:because|since|as\s+(?:it|the|they|he|she)|given\s+that|due\s+to|which\s+(?:is|would))\b.*$",
    re.I,
)
_MARK = re.compile(
    r"^\s*(?:[-*•·●▪◦‣▸►→⇒+>–—]\s+|#{1,6}\s+|\(?\d{1,3}[.):\]]\s+|\[\d{1,3}\]\s+|\(?[a-hA-H]\)\s+|\[[ "
    r"xX]\]\s+|👉\s*|✅\s*)+(?=\S)"
)
_TIGHT_MARK = re.compile(r"^\s*(?:[•●▪◦‣▸►→⇒]|\d{1,2}\)|\*(?!\*)|\d{1,2}\.(?=[^\W\d]))(?=\S)")
_QUOTED = re.compile(
    r"\*\*(.+?)\*\*|“([^”]+)”|„([^“”]+)[“”]|«\s*([^»]+?)\s*»|「([^」]+)」|『([^』]+)』|《([^》]+)》"
    r"|(?<!\w)\"([^\"]+)\"(?!\w)|`([^`]+)`|(?<!\w)_([^_]+)_(?!\w)"
)
_BOXED = re.compile(r"\\boxed\{(?:\\text\{)?([^{}]+)\}")
_BUT = re.compile(r"[\s.;,!]+(?:however|but|nevertheless|that said|if i had to guess),?\s+", re.IGNORECASE)
_COLUMN = re.compile(
    rf"^\W*(?:{_THING}s?|no|nr|rank|year|id|reason|genre|category|description)?\W*$|^\d+$", re.IGNORECASE
)
_WRAPPING = "\"'“”„«»‘’*`_「」『』《》"


def refuses(line: str) -> bool:
    """Tell whether a line begins as a refusal, an apology or a question back."""
    return bool(_REFUSAL.match(line))


def names_nothing(line: str) -> bool:
    """Tell whether a line says that there is no answer, or holds marks alone."""
    return bool(_NOTHING.match(line))


def opens(line: str) -> bool:
    """Tell whether a line leads to an answer without being one."""
    return bool(_OPENER.match(line)) or line.rstrip(" *_").endswith((":", "："))


def aside(line: str) -> bool:
    """Tell whether a line explains an answer that stands elsewhere."""
    return bool(_ASIDE.match(line))


def labelled(line: str) -> str:
    """Return what stands behind a label (`Answer:`, `The next item is`); empty where there is none."""
    found = _LABEL.match(line) if len(line) <= LONGEST_PEELED else None
    return found.group("value").strip() if found else ""


def behind_opener(line: str) -> str:
    """Return what stands behind a preamble on the same line; empty where nothing does."""
    found = _OPENER.match(line) if len(line) <= LONGEST_PEELED else None
    if found is None:
        return ""
    if found.group("greeting"):
        return line[found.end() :].strip(" *")
    _, colon, rest = line.partition(": ")
    if colon:
        return rest.strip()
    _, comma, clause = line.partition(", ")
    return clause.strip() if comma and (_SENTENCE.match(clause) or _LABEL.match(clause)) else ""


def after_refusal(line: str) -> str:
    """Return the guess that a refusal ends with all the same (`..., but my guess is ...`); empty where
    none.
    """
    rest = _BUT.split(line)[-1] if len(line) <= LONGEST_PEELED else line
    if rest == line or refuses(rest):
        return ""
    return labelled(rest) or (peeled(rest) if peeled(rest) != rest else "")


def heads_column(cell: str) -> bool:
    """Tell whether a cell of a table is the name of its column."""
    return bool(_COLUMN.match(cell))


def peeled(line: str) -> str:
    """Return the object of a sentence that only presents it, without its reason; else the line itself."""
    if len(line) > LONGEST_PEELED:
        return line
    found = _SENTENCE.match(line)
    return _AFTER.sub("", found.group("value")).strip() if found else line


def without_reason(line: str) -> str:
    """Return a line without the reason that follows a name."""
    return _AFTER.sub("", line).strip() or line


def unmarked(line: str) -> str:
    """Return a line without the mark of a list or heading before it."""
    bare = _MARK.sub("", line)
    return bare if bare != line else _TIGHT_MARK.sub("", line)


def quoted(line: str) -> list[str]:
    """Return what a line holds in quotes, boxes or bold letters, in order."""
    # each alternative of the pattern has its own group, and one of them matched
    inner = [match[match.lastindex or 0] for match in _QUOTED.finditer(line)]
    return [part.strip() for part in [*_BOXED.findall(line), *inner] if part.strip(" .,:;*")]


def unwrapped(line: str) -> str:
    r"""Return a name without the quotes and points that stand around it.

    A quote that closes but never opened was opened by the prompt, so the name ends there.

    Examples
    --------
    >>> unwrapped('"Jaws (1975)".'), unwrapped('Jaws (1975)", because')
    ('Jaws (1975)', 'Jaws (1975)')
    """
    line = line.strip().strip(_WRAPPING).strip()
    if line.count('"') % 2:
        line = line.partition('"')[0]
    return line.strip().removesuffix(".").strip().strip(_WRAPPING).strip()
