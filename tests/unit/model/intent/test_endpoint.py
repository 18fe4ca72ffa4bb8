"""The endpoint source against a real HTTP server that misbehaves on purpose."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from feature_repo.contract.settings import Settings
from model.intent.endpoint import EndpointError, EndpointLlm
from model.intent.llm import recipe_of
from model.intent.weights import ModelMissingError

PREFIXES = [["Alien", "Brazil"], ["Casablanca"], ["Dune", "Heat", "Fargo"]]


def completion(text, usage=True):
    body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    return json.dumps(body | ({"usage": {"prompt_tokens": 50, "completion_tokens": 4}} if usage else {}))


class Server:
    """Answers with what `reply` gives for the number of the request: (status, body, headers), or None to hang until the end."""

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
    server, source = serve(lambda number, body: (200, completion('1. "Jaws"'), {}), api_key="secret", concurrency=2)
    answers, failures = ask(source)
    assert failures == [] and sorted(answers) == [0, 1, 2]
    assert {answer.long_text for answer in answers.values()} == {"Jaws"}
    assert {(answer.input_tokens, answer.output_tokens) for answer in answers.values()} == {(100, 8)}
    assert len(server.requests) == 6 and server.most_open <= 2
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert body["temperature"] == 0 and body["max_tokens"] == 16 and [message["role"] for message in body["messages"]] == ["user"]


def test_a_neutral_prompt_is_asked_once_a_prefix_for_both_views(serve):
    server, source = serve(lambda number, body: (200, completion(f"answer {number}"), {}), version="v1-neutral", concurrency=1)
    answers, failures = ask(source)
    assert failures == [] and len(server.requests) == len(answers) == 3
    assert all(answer.long_text == answer.short_text for answer in answers.values())
    assert {(answer.input_tokens, answer.output_tokens) for answer in answers.values()} == {(50, 4)}
    assert not any(word in body["messages"][-1]["content"] for _, _, body in server.requests for word in ("long", "short"))


@pytest.mark.parametrize("bad", [
    (429, "slow down", {"Retry-After": "1"}), (500, "oops", {}), (503, "", {}), (200, "<html>", {}), (200, completion("  \n"), {}),
    (200, '{"choices": []}', {}), (200, "null", {}), (200, completion(None), {}),
])  # fmt: skip
def test_a_passing_fault_is_tried_again(serve, bad):
    server, source = serve(lambda number, body: bad if number % 2 == 0 else (200, completion("Jaws", usage=False), {}), concurrency=1)
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
    assert len(server.requests) == 3 and "status 401" in failures[0][1] and "endpoint.api_key" in failures[0][1]


def test_one_failing_session_does_not_take_the_others_along(serve):
    _, source = serve(lambda number, body: (500, "", {}) if "Casablanca" in body["messages"][-1]["content"] else (200, completion("Jaws"), {}))
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
