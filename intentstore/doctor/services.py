"""What is reached over the network: broker, online store, LLM endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feature_repo.contract.addresses import shown
from feature_repo.contract.endpoints import EndpointError, bootstrap_servers, online_store_url
from feature_repo.contract.lazy import lazy
from feature_repo.contract.settings import Settings
from intentstore.doctor.check import Check, said

if TYPE_CHECKING:
    from feature_repo.stores.packed import client as online
    from model.intent.ask import endpoint as llm
    from streaming.topics import ensure
else:
    online = lazy("feature_repo.stores.packed.client")
    llm = lazy("model.intent.ask.endpoint")
    ensure = lazy("streaming.topics.ensure")

PROMPT = ("Running shoes", "Sports socks")  # two titles that any model continues


def broker(settings: Settings) -> Check:
    """Ask the broker for the topics."""
    try:
        address = bootstrap_servers(settings)
    except EndpointError as error:
        text, _ = said(error)
        return Check("broker", "warning", text, "set it, or start the embedded one: intentstore up")
    from kafka.errors import KafkaError

    try:
        admin = ensure.connect(settings)
        try:
            topics = set(admin.list_topics())
        finally:
            admin.close()
    except KafkaError as error:
        text, _ = said(error)
        remedy = "see whether it runs, and kafka.security_protocol; embedded: intentstore up"
        return Check("broker", "error", f"{address} does not answer ({text or type(error).__name__})", remedy)
    absent = [name for name in ensure.wanted(settings) if name not in topics]
    if absent:
        remedy = "the consumer makes them: intentstore consume"
        return Check("broker", "warning", f"{address} answers, without topics {', '.join(absent)}", remedy)
    return Check("broker", "ok", f"{address} answers, with all topics")


def online_store(settings: Settings) -> Check:
    """Read one key of the online store."""
    try:
        address = online_store_url(settings)
    except EndpointError as error:
        text, _ = said(error)
        return Check("online store", "warning", text, "set it, or start the embedded one: intentstore up")

    client = online.PackedClient(address, settings.online.cluster)
    try:
        client.read([b"intentstore:doctor"])  # a node that is no primary, or of a cluster, says so
    finally:
        client.close()
    return Check("online store", "ok", f"{shown(address)} answers")


def endpoint(settings: Settings) -> Check:
    """Ask the LLM endpoint one prompt and show what came back."""
    if settings.endpoint.url is None:
        if settings.intents.source == "endpoint":
            remedy = "set endpoint.url, or another intents.source"
            return Check(
                "endpoint", "error", "intents.source is endpoint, and endpoint.url is not set", remedy
            )
        return Check("endpoint", "ok", "none is set, none is asked")

    answers: list[str] = []
    failures = llm.EndpointLlm(settings).answer([PROMPT], lambda _, answer: answers.append(answer.long_text))
    if failures:
        text, remedy = said(Exception(failures[0][1]))
        return Check(
            "endpoint", "error", text, remedy or "see docs/runbook.md, and endpoint.* in the settings"
        )
    return Check("endpoint", "ok", f"asked after {' and '.join(PROMPT)}, it answered {answers[0]!r}")
