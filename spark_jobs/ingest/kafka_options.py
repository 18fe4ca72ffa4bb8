"""Address and security of the configured broker, as Spark's Kafka source and as kafka-python name them.
Secrets are passed on, never logged.
"""

from __future__ import annotations

from typing import Any

from feature_repo.contract.endpoints import EndpointError, bootstrap_servers, kafka_options
from feature_repo.contract.settings import Settings
from spark_jobs.job import JobError

_LOGIN = "org.apache.kafka.common.security.{module} required username={user} password={password};"


def python_options(settings: Settings) -> dict[str, Any]:
    """Return keyword arguments of any kafka-python client.

    Parameters
    ----------
    settings : Settings
        `kafka`, or the embedded broker that runs below `home`.

    Returns
    -------
    dict

    Raises
    ------
    JobError
        No broker is configured and none was started.
    """
    try:
        return kafka_options(settings)
    except EndpointError as error:
        raise JobError(str(error)) from None


def spark_options(settings: Settings) -> dict[str, str]:
    """Return options of ``spark.read.format("kafka")``; certificates are given as PEM files.

    Parameters
    ----------
    settings : Settings
        As for `python_options`.

    Returns
    -------
    dict

    Raises
    ------
    JobError
        No broker is configured and none was started.
    """
    kafka = settings.kafka
    options = {
        "kafka.bootstrap.servers": _servers(settings),
        "kafka.security.protocol": kafka.security_protocol,
        "kafka.isolation.level": "read_committed",
    }
    if kafka.security_protocol.startswith("SASL"):
        mechanism = kafka.sasl_mechanism or "PLAIN"
        module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
        password = kafka.sasl_password.get_secret_value() if kafka.sasl_password else ""
        options["kafka.sasl.mechanism"] = mechanism
        options["kafka.sasl.jaas.config"] = _LOGIN.format(
            module=module, user=_quoted(kafka.sasl_username or ""), password=_quoted(password)
        )
    if kafka.ssl_cafile is not None:
        options |= {
            "kafka.ssl.truststore.type": "PEM",
            "kafka.ssl.truststore.location": str(kafka.ssl_cafile),
        }
    if kafka.ssl_certfile is not None and kafka.ssl_keyfile is not None:
        pair = kafka.ssl_keyfile.read_text(encoding="utf-8"), kafka.ssl_certfile.read_text(encoding="utf-8")
        options |= {
            "kafka.ssl.keystore.type": "PEM",
            "kafka.ssl.keystore.key": pair[0],
            "kafka.ssl.keystore.certificate.chain": pair[1],
        }
    return options


def _servers(settings: Settings) -> str:
    try:
        return bootstrap_servers(settings)
    except EndpointError as error:
        raise JobError(str(error)) from None


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
