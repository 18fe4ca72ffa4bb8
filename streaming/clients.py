"""Options shared by every Kafka client here: address and security. Secrets are passed on, never logged."""

from __future__ import annotations

import logging
from typing import Any

from feature_repo.contract.endpoints import bootstrap_servers
from feature_repo.contract.settings import KafkaSettings, Settings

# a command line tool says that there is no broker after this, not after the client's 30 s
TOOL_TIMEOUT_MS = 10_000

# The client logs every connection that a restarting broker drops, several times over; what matters comes to
# us as an exception.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


def security_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Give the security options as kafka-python names them.

    Parameters
    ----------
    kafka : KafkaSettings
        Only what is set is passed on.

    Returns
    -------
    dict
        Keyword arguments of any kafka-python client.
    """
    options: dict[str, Any] = {"security_protocol": kafka.security_protocol}
    if kafka.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = kafka.sasl_mechanism or "PLAIN"
        options["sasl_plain_username"] = kafka.sasl_username
        options["sasl_plain_password"] = (
            kafka.sasl_password.get_secret_value() if kafka.sasl_password else None
        )
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        path = getattr(kafka, name)
        if path is not None:
            options[name] = str(path)
    return options


def client_options(settings: Settings) -> dict[str, Any]:
    """Give address and security of the configured broker.

    Raises
    ------
    EndpointError
        If no broker is configured and none was started.
    """
    return {"bootstrap_servers": bootstrap_servers(settings).split(","), **security_options(settings.kafka)}
