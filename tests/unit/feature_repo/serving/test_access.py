"""The gate in front of Feast's server: who may read and write what, and what never gets through."""

from __future__ import annotations

import asyncio
import json

import pytest

from feature_repo.serving.access import AccessError, Gate, add_token, read_grants
from feature_repo.serving.tokens import TokenGate

ROWS = {"entities": {"session_id": ["a"]}}


@pytest.fixture(scope="module")
def access(tmp_path_factory):
    file = tmp_path_factory.mktemp("access") / "access.toml"
    tokens = {
        "narrow": add_token(file, "narrow", ["session_intents_v1"]),
        "wide": add_token(file, "wide", ["*"]),
        "writer": add_token(file, "writer", ["session_intents_v1"], write=True),
        "items": add_token(file, "items", ["item_text_v1"]),
    }
    return file, tokens


def ask(access, path, body, token=None, *, allow_writes=False, **limits):
    """Status of a request through the gate; 200 means that it reached what is behind, with its body whole."""
    file, tokens = access
    raw, said, seen = body if isinstance(body, bytes) else json.dumps(body).encode(), [], []

    async def behind(scope, receive, send):
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    parts = [raw[start : start + 1000] for start in range(0, len(raw), 1000)] or [b""]
    messages = [
        {"type": "http.request", "body": part, "more_body": number + 1 < len(parts)}
        for number, part in enumerate(parts)
    ]

    async def receive():
        return messages.pop(0)

    async def send(message):
        said.append(message)

    headers = [(b"authorization", f"Bearer {tokens.get(token, token)}".encode())] if token else []
    gate = Gate(
        behind,
        TokenGate(read_grants(file), "one"),
        **({"max_body_bytes": 10_000, "max_entities": 100} | limits),
        allow_writes=allow_writes,
    )
    asyncio.run(gate({"type": "http", "path": path, "headers": headers}, receive, send))
    status = said[0]["status"]
    assert seen == ([raw if path != "/health" else b""] if status == 200 else []), (
        "what is refused never reaches Feast; what passes arrives whole"
    )
    return status if status == 200 else (status, json.loads(said[1]["body"])["detail"])


def test_token_reads_its_services_and_no_others(access):
    mine, other = (
        {"feature_service": "session_intents_v1", **ROWS},
        {"feature_service": "session_ranker_v1", **ROWS},
    )
    assert ask(access, "/get-online-features", mine, "narrow") == 200
    assert ask(access, "/get-online-features", other, "narrow")[0] == 403
    assert ask(access, "/get-online-features", other, "wide") == 200
    assert (
        ask(access, "/get-online-features", {"features": ["session_intents:long_text"], **ROWS}, "narrow")[0]
        == 403
    )
    assert (
        ask(access, "/get-online-features", {"features": ["session_intents:long_text"], **ROWS}, "wide")
        == 200
    )


@pytest.mark.parametrize("token", [None, "made-up", ""])
def test_no_or_unknown_token_reads_nothing(access, token):
    assert (
        ask(access, "/get-online-features", {"feature_service": "session_intents_v1", **ROWS}, token)[0]
        == 401
    )
    assert ask(access, "/nearest", {"text": "x"}, token)[0] == 401
    assert ask(access, "/health", b"", token) == 200


@pytest.mark.parametrize("path", ["/push", "/write-to-online-store"])
def test_writes_need_both_the_servers_flag_and_the_tokens_right(access, path):
    assert ask(access, path, {}, "writer")[0] == 403
    assert ask(access, path, {}, "wide", allow_writes=True)[0] == 403
    assert ask(access, path, {}, "writer", allow_writes=True) == 200
    assert ask(access, path, {}, None, allow_writes=True)[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        "/materialize",
        "/materialize-incremental",
        "/chat",
        "/retrieve-online-documents",
        "/docs",
        "/",
        "/get-online-features/",
    ],
)
def test_feasts_other_paths_are_shut(access, path):
    assert ask(access, path, {}, "wide", allow_writes=True)[0] == 404


def test_nearest_needs_the_service_that_holds_the_vectors(access):
    assert ask(access, "/nearest", {"text": "x"}, "items") == 200
    assert ask(access, "/nearest", {"text": "x", "of": "sessions"}, "items")[0] == 403
    assert ask(access, "/nearest", {"text": "x", "of": "sessions"}, "narrow") == 200
    assert ask(access, "/nearest", {"text": "x", "of": ["items"]}, "wide")[0] == 422
    assert ask(access, "/nearest", b"[]", "wide")[0] == 422


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[1]", 422),
        ({"feature_service": "session_intents_v1"}, 422),
        ({"entities": {}}, 422),
        ({"entities": {"a": ["1"], "b": []}}, 422),
        ({"entities": {"a": 5}}, 422),
        ({"entities": {"session_id": ["x"] * 101}}, 413),
        (b"x" * 10_001, 413),
    ],
)
def test_requests_out_of_measure_are_refused_in_words(access, body, status):
    found, words = ask(access, "/get-online-features", body, "wide")
    assert (found, bool(words)) == (status, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[token]]\nname = 'x'\n",
        "[[token]]\nname='x'\nsha256='y'\nservices=['*']\ncolour='red'\n",
        "token = 3\n",
    ],
)
def test_unusable_access_file_is_named(tmp_path, text):
    file = tmp_path / "access.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(AccessError, match=r"access\.toml"):
        read_grants(file)


def test_file_holds_hashes_only_and_is_private(access):
    file, tokens = access
    text = file.read_text(encoding="utf-8")
    assert not any(token in text for token in tokens.values())
    assert file.stat().st_mode & 0o077 == 0
