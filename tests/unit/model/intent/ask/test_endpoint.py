"""The endpoint source against a real HTTP server that misbehaves on purpose."""

from __future__ import annotations

import datetime
import email.utils
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from feature_repo.contract.settings import Settings
from model.intent.ask.answers import failure_kinds
from model.intent.ask.asker import recipe_of
from model.intent.ask.completion import retry_after
from model.intent.ask.endpoint import EndpointError, EndpointLlm
from model.intent.ground.known_titles import KnownTitles
from model.intent.llm.weights import ModelMissingError

PREFIXES = [["Alien", "Brazil"], ["Casablanca"], ["Dune", "Heat", "Fargo"]]


def completion(text, usage=True):
    body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    return json.dumps(body | ({"usage": {"prompt_tokens": 50, "completion_tokens": 4}} if usage else {}))


class Server:
    """Answers with what `reply` gives for the number of the request: (status, body, headers), or None to hang
    until the end.
    """

    def __init__(self, reply):
        outer = self
        self.requests = []
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.open = self.most_open = 0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer.lock:
                    number = len(outer.requests)
                    outer.requests.append((self.path, dict(self.headers), body))
                    outer.open += 1
                    outer.most_open = max(outer.most_open, outer.open)
                answer = reply(number, body)
                with outer.lock:
                    outer.open -= 1
                if answer is None:
                    outer.released.wait(20)
                    return
                status, text, headers = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def close(self):
        self.released.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def serve():
    servers = []

    def start(reply, version="v1", **endpoint):
        servers.append(Server(reply))
        given = {"url": servers[-1].url, "model": "m", "attempts": 3, "timeout_seconds": 10.0, **endpoint}
        intents = {"source": "endpoint", "prompt_version": version}
        return servers[-1], EndpointLlm(Settings(endpoint=given, intents=intents), wait_scale=0.001)

    yield start
    for server in servers:
        server.close()


def ask(source):
    answers = {}
    return answers, source.answer(PREFIXES, answers.__setitem__)


def test_both_views_are_asked_with_the_key_and_counted(serve):
    server, source = serve(
        lambda number, body: (200, completion('1. "Jaws"'), {}), api_key="secret", concurrency=2
    )
    answers, failures = ask(source)
    assert failures == [] and sorted(answers) == [0, 1, 2]
    assert {answer.long_text for answer in answers.values()} == {"Jaws"}
    assert {(answer.input_tokens, answer.output_tokens) for answer in answers.values()} == {(100, 8)}
    assert len(server.requests) == 6 and server.most_open <= 2
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert (
        body["temperature"] == 0
        and body["max_tokens"] == 16
        and [message["role"] for message in body["messages"]] == ["user"]
    )


def test_a_neutral_prompt_is_asked_once_a_prefix_for_both_views(serve):
    server, source = serve(
        lambda number, body: (200, completion(f"answer {number}"), {}), version="v1-neutral", concurrency=1
    )
    answers, failures = ask(source)
    assert failures == [] and len(server.requests) == len(answers) == 3
    assert all(answer.long_text == answer.short_text for answer in answers.values())
    assert {(answer.input_tokens, answer.output_tokens) for answer in answers.values()} == {(50, 4)}
    assert not any(
        word in body["messages"][-1]["content"]
        for _, _, body in server.requests
        for word in ("long", "short")
    )


@pytest.mark.parametrize(
    "bad",
    [
        (429, "slow down", {"Retry-After": "1"}),
        (500, "oops", {}),
        (503, "", {}),
        (200, "<html>", {}),
        (200, completion("  \n"), {}),
        (200, '{"choices": []}', {}),
        (200, "null", {}),
        (200, completion(None), {}),
    ],
)
def test_a_passing_fault_is_tried_again(serve, bad):
    server, source = serve(
        lambda number, body: bad if number % 2 == 0 else (200, completion("Jaws", usage=False), {}),
        concurrency=1,
    )
    answers, failures = ask(source)
    assert failures == [] and len(answers) == 3 and len(server.requests) == 12
    assert all(answer.input_tokens > 0 for answer in answers.values())


@pytest.mark.parametrize("bad", [(500, "oops", {}), (200, "garbage", {}), (200, completion(""), {})])
def test_a_lasting_fault_fails_the_call_and_is_never_an_empty_answer(serve, bad):
    server, source = serve(lambda number, body: bad)
    answers, failures = ask(source)
    assert answers == {} and [place for place, _ in failures] == [0, 1, 2]
    assert len(server.requests) == 9 and all("endpoint" in reason for _, reason in failures)


def test_a_refusal_is_not_tried_again(serve):
    server, source = serve(lambda number, body: (401, "no such key", {}))
    _, failures = ask(source)
    assert (
        len(server.requests) == 3 and "status 401" in failures[0][1] and "endpoint.api_key" in failures[0][1]
    )


def test_one_failing_session_does_not_take_the_others_along(serve):
    _, source = serve(
        lambda number, body: (
            (500, "", {})
            if "Casablanca" in body["messages"][-1]["content"]
            else (200, completion("Jaws"), {})
        )
    )
    answers, failures = ask(source)
    assert sorted(answers) == [0, 2] and [place for place, _ in failures] == [1]


def test_a_server_that_hangs_runs_into_the_time_out(serve):
    server, source = serve(lambda number, body: None, timeout_seconds=0.2, attempts=2)
    answers, failures = ask(source)
    assert answers == {} and len(failures) == 3 and len(server.requests) == 6


def test_a_server_that_is_not_there_fails_the_calls():
    source = EndpointLlm(Settings(endpoint={"url": "http://127.0.0.1:9", "attempts": 2}), wait_scale=0.001)
    assert [place for place, _ in source.answer(PREFIXES)] == [0, 1, 2]


def test_after_many_failures_in_a_row_the_rest_is_not_asked(serve):
    server, source = serve(lambda number, body: (500, "", {}), attempts=1, concurrency=1)
    failures = source.answer([["Alien"]] * 30)
    assert len(failures) == 30 and len(server.requests) < 15
    assert "in a row" in failures[-1][1]


def test_an_endless_answer_is_cut_to_its_first_line(serve):
    _, source = serve(lambda number, body: (200, completion("Jaws\n" + "word " * 10_000), {}))
    answers, failures = ask(source)
    assert failures == [] and answers[0].long_text == "Jaws"


def test_an_answer_without_end_is_not_read_to_its_end(serve):
    _, source = serve(lambda number, body: (200, "x" * 3_000_000, {}))
    answers, failures = ask(source)
    assert answers == {} and "more than 1,000,000 bytes" in failures[0][1]


def test_requests_are_paced(serve):
    _, source = serve(lambda number, body: (200, completion("Jaws"), {}), requests_per_minute=1200.0)
    started = time.monotonic()
    ask(source)
    assert time.monotonic() - started >= 5 * 0.05


def test_an_endpoint_without_address_is_refused_with_the_remedy():
    with pytest.raises(EndpointError, match="endpoint.url is not set"):
        EndpointLlm(Settings())
    with pytest.raises(ModelMissingError, match="INTENTSTORE_ENDPOINT__URL"):
        recipe_of(Settings(intents={"source": "endpoint"}))


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "50",
        7,
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": "many"},
        {"prompt_tokens": -5, "completion_tokens": True},
        {"prompt_tokens": [1]},
        {"total_tokens": 9},
        {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
    ],
)
def test_usage_of_another_form_is_counted_by_length(serve, usage):
    body = json.dumps({"choices": [{"message": {"content": "Jaws"}}], "usage": usage})
    _, source = serve(lambda number, _: (200, body, {}))
    answers, failures = ask(source)
    assert failures == [] and {answer.output_tokens for answer in answers.values()} == {2}
    assert all(answer.input_tokens > 20 for answer in answers.values())


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 50, "output_tokens": 4},
        {"prompt_tokens": "50", "completion_tokens": 4.0},
        {"prompt_tokens": 50, "completion_tokens": 4, "x": None},
    ],
)
def test_usage_under_other_names_is_counted(serve, usage):
    body = json.dumps({"choices": [{"message": {"content": "Jaws"}}], "usage": usage})
    _, source = serve(lambda number, _: (200, body, {}))
    answers, _ = ask(source)
    assert {(answer.input_tokens, answer.output_tokens) for answer in answers.values()} == {(100, 8)}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:30 GMT"}, 0.0),
        ({"retry-after": "Wednesday, 21-Oct-26 07:28:30 GMT"}, 30.0),
        ({"retry-after": "Wed Oct 21 07:28:30 2026"}, 30.0),
        ({"retry-after": "2026-10-21T07:28:30Z"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:20 GMT"}, 10.0),
        ({}, 0.0),
        ({"retry-after": ""}, 0.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "-4"}, 0.0),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": "inf"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2026"}, 0.0),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_retry_after_is_read_as_seconds_and_as_a_date(headers, seconds, zone, monkeypatch, request):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    request.addfinalizer(lambda: (monkeypatch.undo(), time.tzset()))
    now = datetime.datetime(2026, 10, 21, 7, 28, tzinfo=datetime.UTC).timestamp()
    assert retry_after(headers, now) == seconds


def test_a_retry_after_of_a_minute_is_waited_for(serve):
    soon = email.utils.format_datetime(
        datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60), usegmt=True
    )
    _, source = serve(
        lambda number, body: (
            (429, "", {"Retry-After": soon}) if number == 0 else (200, completion("Jaws"), {})
        ),
        concurrency=1,
    )
    source._wait._scale = 0.01
    started = time.monotonic()
    answers, failures = ask(source)
    assert failures == [] and len(answers) == 3 and time.monotonic() - started >= 0.55


@pytest.mark.parametrize(
    ("status", "body", "named", "not_named"),
    [
        (
            401,
            '{"error": {"message": "Incorrect API key provided: sk-secret-key"}}',
            "endpoint.api_key",
            "endpoint.model",
        ),
        (403, "forbidden", "endpoint.api_key", "endpoint.url"),
        (404, '{"detail": "Not Found"}', "endpoint.url", "endpoint.api_key"),
        (404, '{"error": "model \'m\' not found"}', "endpoint.model", "api_key"),
        (402, "", "intents.max_calls", "endpoint.url"),
        (
            400,
            '{"error": {"message": "This model\'s maximum context length is 512 tokens"}}',
            "intents.max_items",
            "api_key",
        ),
        (400, '{"message": "model llama-9 is not known"}', "endpoint.model", "api_key"),
        (413, "", "intents.max_title_tokens", "endpoint.model"),
        (
            422,
            '{"detail": [{"msg": "Extra inputs are not permitted", "loc": ["body", "top"]}]}',
            "endpoint.extra_body",
            "api_key",
        ),
        (308, "", "endpoint.url", "api_key"),
        (429, "slow down", "endpoint.requests_per_minute", "api_key"),
        (500, "<html><h1>Oops</h1></html>", "log", "api_key"),
    ],
)
def test_a_refusal_names_the_setting_that_helps(serve, status, body, named, not_named):
    _, source = serve(lambda number, _: (status, body, {}), api_key="sk-secret-key", attempts=1)
    reason = ask(source)[1][0][1]
    assert f"status {status}" in reason and named in reason and not_named not in reason
    assert "sk-secret-key" not in reason and "<" not in reason and "\n" not in reason


def test_a_long_refusal_is_cut_between_words(serve):
    words = "the parameters of this request are not of the kind that " * 30
    _, source = serve(lambda number, _: (400, json.dumps({"error": {"message": words, "code": 1}}), {}))
    told = ask(source)[1][0][1].partition("(")[2].partition(" ...)")[0]
    assert 200 < len(told) <= 300 and words.startswith(f"{told} ") and "error" not in told


def test_a_server_that_is_not_there_is_named_without_its_password():
    source = EndpointLlm(
        Settings(endpoint={"url": "http://me:secret@127.0.0.1:9/v1?key=secret", "attempts": 1}),
        wait_scale=0.001,
    )
    reason = source.answer(PREFIXES)[0][1]
    assert "http://127.0.0.1:9" in reason and "endpoint.url" in reason and "secret" not in reason


def test_answers_that_are_none_fail_by_kind_and_do_not_take_the_server_for_down(serve):
    def reply(number, body):
        text = (
            "I'm sorry, but I can't help."
            if "Casablanca" in body["messages"][-1]["content"]
            else "<think>Okay"
        )
        return 200, completion("Jaws" if "Dune" in body["messages"][-1]["content"] else text), {}

    server, source = serve(reply, attempts=1)
    answers, failures = ask(source)
    assert (
        sorted(answers) == [2]
        and "reasoning" in failures[0][1]
        and "endpoint.max_tokens" in failures[0][1]
        and "refusal" in failures[1][1]
    )
    assert failure_kinds(reason for _, reason in failures) == {
        "the endpoint's answer is reasoning that was cut by the bound of 16 tokens": 1,
        "the endpoint's answer is a refusal": 1,
    }
    before = len(server.requests)
    failed = source.answer([["Alien"]] * 12 + [["Dune"]])
    assert (
        len(failed) == 12
        and all("not asked" not in reason for _, reason in failed)
        and len(server.requests) - before == 14
    )


@pytest.mark.parametrize(
    "body",
    [
        {
            "choices": [
                {
                    "message": {
                        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Jaws"}]
                    }
                }
            ]
        },
        {"choices": [{"message": {"content": "Jaws", "reasoning_content": "long thoughts"}}]},
        {"message": {"role": "assistant", "content": "Jaws"}, "done": True},
        {"choices": [{"text": "Jaws"}]},
        [{"generated_text": "Jaws"}],
        {"generated_text": "Jaws"},
        {"response": "Jaws", "done_reason": "stop"},
        {
            "choices": [
                {
                    "message": {
                        "content": None,
                        "tool_calls": [{"function": {"name": "pick", "arguments": '{"item": "Jaws"}'}}],
                    }
                }
            ]
        },
        {"choices": [{"delta": {"content": "Jaws"}}]},
    ],
)
def test_bodies_of_other_servers_are_read(serve, body):
    _, source = serve(lambda number, _: (200, json.dumps(body), {}))
    answers, failures = ask(source)
    assert failures == [] and {answer.long_text for answer in answers.values()} == {"Jaws"}


def test_a_server_that_streams_all_the_same_is_read(serve):
    pieces = [{"choices": [{"delta": {"content": part}, "finish_reason": None}]} for part in ("Ja", "ws")] + [
        {"choices": [], "usage": {"prompt_tokens": 50}}
    ]
    text = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n\n"
    answers, failures = ask(serve(lambda number, _: (200, text, {}))[1])
    assert failures == [] and answers[0].long_text == "Jaws" and answers[0].input_tokens == 100


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"content": None, "refusal": "I can't."}}]},
        {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]},
        {"choices": [{"message": {"content": "", "reasoning_content": "hm"}, "finish_reason": "length"}]},
        {"error": {"message": "overloaded"}},
    ],
)
def test_a_body_without_an_answer_is_a_failure(serve, body):
    _, source = serve(lambda number, _: (200, json.dumps(body), {}), attempts=1)
    answers, failures = ask(source)
    assert (
        answers == {}
        and len(failures) == 3
        and all("endpoint's answer is" in reason for _, reason in failures)
    )


def refusing(*fields, name="error"):
    """A server that refuses fields as newer ones do."""

    def reply(number, body):
        bad = next((field for field in fields if field in body), None)
        if bad is None:
            return 200, completion("Jaws"), {}
        said = (
            f"Unsupported parameter: '{bad}' is not supported with this model."
            + " Use 'max_completion_tokens' instead." * (bad == "max_tokens")
        )
        return 400, json.dumps({name: {"message": said}}), {}

    return reply


def test_fields_that_the_server_refuses_are_left_out(serve):
    server, source = serve(
        refusing("max_tokens", "temperature", "response_format"), concurrency=1, structured_output="auto"
    )
    answers, failures = ask(source)
    assert failures == [] and len(answers) == 3 and len(server.requests) == 6 + 3
    last = server.requests[-1][2]
    assert last["max_completion_tokens"] >= 16 and not {"max_tokens", "temperature", "response_format"} & set(
        last
    )


def test_a_field_that_is_set_is_not_replaced(serve):
    server, source = serve(refusing("max_tokens"), token_limit_field="max_tokens", attempts=1)
    assert "endpoint.token_limit_field" in ask(source)[1][0][1] and len(server.requests) == 3
    server, source = serve(refusing("max_tokens"), token_limit_field="max_output_tokens", max_tokens=900)
    assert ask(source)[1] == [] and {body["max_output_tokens"] for _, _, body in server.requests} == {900}


def test_further_fields_and_the_key_s_header_are_as_set(serve):
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "temperature": 1}
    server, source = serve(
        lambda number, _: (200, completion("Jaws"), {}),
        api_key="k",
        api_key_header="x-api-key",
        extra_body=extra,
    )
    assert ask(source)[1] == []
    _, headers, body = server.requests[0]
    sent = {name.lower(): value for name, value in headers.items()}
    assert (
        sent["x-api-key"] == "k"
        and "authorization" not in sent
        and body["temperature"] == 1
        and body["chat_template_kwargs"] == {"enable_thinking": False}
    )


def test_structured_output_is_asked_for_by_setting(serve):
    server, source = serve(
        lambda number, body: (200, completion('{"item": "Jaws"}'), {}), structured_output="auto"
    )
    answers, _ = ask(source)
    assert {(answer.long_text, answer.long_kind) for answer in answers.values()} == {("Jaws", "json")}
    assert (
        server.requests[0][2]["response_format"]["type"] == "json_schema"
        and server.requests[0][2]["max_tokens"] > 16
    )


def test_the_bound_follows_the_longest_title(serve):
    titles = KnownTitles(
        [
            "Jaws",
            "Intel Core i7-4770K Quad-Core Desktop Processor (3.5 GHz, 8 MB Cache, LGA1150, Haswell, Boxed)",
        ]
    )
    settings = Settings(endpoint={"url": "http://127.0.0.1:9"}, intents={"source": "endpoint"})
    assert (
        40 <= EndpointLlm(settings, titles)._bound <= 128
        and EndpointLlm(settings, KnownTitles(["Jaws"]))._bound == 16
    )
    assert EndpointLlm(settings, KnownTitles(["word " * 5_000]))._bound == 128


def test_keys_stay_where_nothing_is_set_and_move_with_what_changes_answers():
    def decoding(**endpoint):
        recipe = recipe_of(
            Settings(endpoint={"url": "http://127.0.0.1:9", **endpoint}, intents={"source": "endpoint"})
        )
        return recipe.decoding

    assert decoding() == decoding(max_tokens=900, api_key_header="x") == "temperature 0, 16 tokens, titles 24"
    assert (
        len(
            {
                decoding(),
                decoding(structured_output="auto"),
                decoding(extra_body={"top_p": 0.1}),
                decoding(extra_body={"top_p": 0.2}),
            }
        )
        == 4
    )
