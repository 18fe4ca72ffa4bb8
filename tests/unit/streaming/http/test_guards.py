"""What the application refuses: bodies, tokens, foreign pages; and what its errors and its page show."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b'{"items":"1"}', 400),
        (b'{"items":[1]}', 400),
        (b'{"items":[""]}', 400),
        (b'{"items":[],"k":0}', 400),
        (b'{"items":[],"colour":1}', 400),
        (b'{"items":[' + b'"1",' * 1000 + b'"1"]}', 400),
        (b"\xff", 400),
        (b"x" * 10_001, 413),
        (b"[" * 9_000, 400),
    ],
)
def test_bad_bodies_are_refused(drive, body, status):
    async def scenario(setting):
        return await setting.client.post("/v1/recommend", content=body)

    response = drive(scenario)
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_a_body_without_a_length_is_cut_off_at_the_limit(drive):
    async def scenario(setting):
        taken = 0

        async def endless():
            nonlocal taken
            while True:
                taken += 1
                yield b"x" * 1000

        response = await setting.client.post("/v1/clicks", content=endless())
        return response.status_code, taken

    status, taken = drive(scenario)
    assert status == 413
    assert taken < 20


def test_a_compressed_body_is_refused(drive):
    async def scenario(setting):
        return await setting.client.post(
            "/v1/clicks", content=b"\x1f\x8b", headers={"content-encoding": "gzip"}
        )

    assert drive(scenario).status_code == 415


CLICK = {"event_id": "e", "session_id": "s", "item_id": "i", "event_time": "2024-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("clicks", "status", "statuses", "sent"),
    [
        (CLICK, 202, ["accepted"], 1),
        ([CLICK, CLICK], 202, ["accepted", "accepted"], 2),
        ([CLICK, {**CLICK, "item_id": ""}], 207, ["accepted", "refused"], 1),
        ({**CLICK, "event_time": "never"}, 400, ["refused"], 0),
        ([5, {}], 400, ["refused", "refused"], 0),
    ],
)
def test_each_click_gets_its_result(drive, clicks, status, statuses, sent):
    async def scenario(setting):
        return await setting.client.post("/v1/clicks", json=clicks), setting.sent

    response, produced = drive(scenario)
    assert response.status_code == status
    assert [result["status"] for result in response.json()["results"]] == statuses
    assert len(produced) == sent
    assert ("error" in response.json()) == (status == 400)


def test_tokens_guard_what_they_should_and_nothing_else(drive):
    paths = (
        "/v1/recommend?session_id=s",
        "/v1/items?query=a",
        "/metrics",
        "/v1/sessions/s/features",
        "/healthz",
        "/readyz",
        "/",
        "/openapi.json",
    )

    async def scenario(setting):
        async def statuses(header):
            return [
                (
                    await setting.client.get(path, headers={"authorization": header} if header else {})
                ).status_code
                for path in paths
            ]

        return [
            await statuses(header)
            for header in ("", "Bearer wrong", "Basic secret", "Bearer secret", "bearer other")
        ]

    without, wrong, basic, right, second = drive(scenario, tokens=("secret", "other"))
    assert without == wrong == basic == [401] * 4 + [200] * 4
    assert right == second == [200] * 8


def test_a_foreign_page_cannot_call_through_the_browser(drive):
    async def scenario(setting):
        own = await setting.client.post("/v1/clicks", json=CLICK, headers={"origin": "http://127.0.0.1"})
        foreign = await setting.client.post(
            "/v1/clicks", json=CLICK, headers={"origin": "http://evil.example"}
        )
        rebound = await setting.client.get("/v1/recommend?session_id=s", headers={"host": "evil.example"})
        return own.status_code, foreign.status_code, rebound.status_code, len(setting.sent)

    assert drive(scenario) == (202, 403, 403, 1)


def test_a_failure_of_ours_shows_no_trace(drive, caplog):
    async def scenario(setting):
        setting.parts.problems = lambda: 1 / 0
        return await setting.client.get("/readyz")

    response = drive(scenario)
    assert response.status_code == 500
    assert response.json() == {
        "error": {"code": "internal", "message": "the request failed on our side; the server's log says why"}
    }
    assert "ZeroDivisionError" in caplog.text


def test_the_page_allows_its_own_script_only(get):
    response = get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.count("'sha256-") == 2
    assert "http://" not in response.text.replace("http://www.w3.org", "")
    assert "https://" not in response.text
    assert "innerHTML" not in response.text
