"""Which setting helps against what an endpoint refuses: one remedy a status and cause."""

from __future__ import annotations

import re
from typing import Final

_BY_STATUS: Final = {
    401: (
        "set endpoint.api_key to a key that this server knows (and endpoint.api_key_header where it wants "
        "one of its own)"
    ),
    402: "the account behind endpoint.api_key has no credit left; pay, or lower intents.max_calls",
    403: "the key in endpoint.api_key may not use endpoint.model here; name another model or another key",
    404: (
        "check the path of endpoint.url (it ends in /v1) and that the server has the model of endpoint.model"
    ),
    405: "endpoint.url is no address of chat completions; it ends in /v1",
    407: (
        "a proxy wants user and password; write them into HTTP_PROXY or HTTPS_PROXY, "
        "http://user:password@proxy:3128, or take the server of endpoint.url out of the proxy (NO_PROXY)"
    ),
    413: "the prompt is too long for the server; lower intents.max_items or intents.max_title_tokens",
    429: "lower endpoint.requests_per_minute or endpoint.concurrency, or raise endpoint.attempts",
    431: "the server takes no head of this size; check endpoint.api_key",
    451: "the server may not answer here; choose another endpoint.url",
}
# Causes by the server's own words, the first that fits; for statuses that say no more than that the request
# is wrong.
_BY_WORDS: Final = (
    (
        (
            r"context.?length|maximum context|too (?:long|many) (?:tokens|input)|prompt is too "
            r"long|exceed\w* .{0,40}(?:context|n_ctx|tokens)|context size"
        ),
        "the prompt is longer than the model's context; lower intents.max_items or intents.max_title_tokens",
    ),
    (
        r"max_(?:completion_|output_|new_)?tokens",
        (
            "set endpoint.token_limit_field to the name that this server wants, or endpoint.max_tokens to "
            "what it allows"
        ),
    ),
    (r"response_format|json_schema|guided|grammar|structured", 'set endpoint.structured_output = "off"'),
    (r"temperature|top_p|top_k|seed", "set it in endpoint.extra_body to a value that this model takes"),
    (r"api.?key|authenticat|credential", "check endpoint.api_key and endpoint.api_key_header"),
    (r"quota|billing|credit|insufficient", "the account behind endpoint.api_key has no quota left"),
    (r"\bmodel\b", "set endpoint.model to a model that the server has (its /v1/models lists them)"),
    (
        (
            r"extra (?:fields|inputs)|unrecogni[sz]ed|unknown (?:field|parameter|argument)|not "
            r"permitted|unsupported"
        ),
        "take what it names out of endpoint.extra_body",
    ),
)
_REFUSES_FIELD = re.compile(
    (
        r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra (?:fields|inputs)|not "
        r"permitted|not allowed|deprecated|instead|invalid|only the default"
    ),
    re.IGNORECASE,
)
_OVER_LIMIT = re.compile(
    r"too (?:large|long|high|many)|exceed|at most|less than|greater than|maximum", re.IGNORECASE
)
STRUCTURE: Final = "response_format"
TOKEN_FIELDS: Final = (
    "max_tokens",
    "max_completion_tokens",
)  # the one that every server knew, and the one that newer ones want


def remedy(status: int, words: str) -> str:
    """Return what to do about a refusal.

    Parameters
    ----------
    status : int
        Of HTTP.
    words : str
        What the server said.

    Examples
    --------
    >>> remedy(400, "This model's maximum context length is 2048 tokens.")
    "the prompt is longer than the model's context; lower intents.max_items or intents.max_title_tokens"
    """
    if 300 <= status < 400:
        return "the server is elsewhere; set endpoint.url to the address that it names"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    for pattern, text in _BY_WORDS:
        if re.search(pattern, words, re.IGNORECASE):
            return text
    if status >= 500:
        return "look into the server's log; it stands at endpoint.url"
    return "check endpoint.model and endpoint.extra_body against what the server of endpoint.url takes"


def of_proxy(words: str) -> str:
    """Return what to do about a proxy that does not let a request through, by the status in its words.

    Examples
    --------
    >>> of_proxy("403 Forbidden")
    'the proxy does not let this host pass; allow it there, or name it in NO_PROXY'
    """
    if words.startswith("407"):
        return _BY_STATUS[407]
    if words.startswith("403"):
        return "the proxy does not let this host pass; allow it there, or name it in NO_PROXY"
    return "check that endpoint.url names a server which the proxy reaches"


def refused_field(words: str, fields: tuple[str, ...]) -> str:
    """Return the field of a request that a server does not take, out of its words; empty where it names none.

    Examples
    --------
    >>> fields = ("max_tokens", "temperature")
    >>> refused_field("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", fields)
    'max_tokens'
    >>> refused_field("max_tokens is too large: 4096 at most", fields)
    ''
    """
    if not _REFUSES_FIELD.search(words) or (_OVER_LIMIT.search(words) and "instead" not in words):
        return ""
    named = [(found.start(), field) for field in fields if (found := re.search(rf"\b{field}\b", words))]
    if named:
        return min(named)[1]
    structured = STRUCTURE in fields and re.search(
        r"json_schema|guided|grammar|structured", words, re.IGNORECASE
    )
    return STRUCTURE if structured else ""
