"""Tells where the broker and the online store are: the settings' addresses, or the embedded services'. Starts
nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from feature_repo.contract.settings import KafkaSettings, Settings

_REMEDY = "start the embedded ones with `python -m streaming up`"


class EndpointError(RuntimeError):
    """There is no address to talk to; the text names the setting and the command that help."""


def endpoints_file(settings: Settings) -> Path:
    """Path of the file in which ``python -m streaming up`` leaves the addresses of what it started."""
    return settings.home / "services" / "endpoints.json"


def bootstrap_servers(settings: Settings) -> str:
    """Give the broker's address.

    Parameters
    ----------
    settings : Settings
        ``kafka.bootstrap_servers`` wins; else what ``up`` left below ``home``.

    Returns
    -------
    str
        ``host:port[,host:port]``. That it answers is not checked.

    Raises
    ------
    EndpointError
        If neither names one.
    """
    return settings.kafka.bootstrap_servers or _embedded(
        settings, "bootstrap_servers", "kafka.bootstrap_servers"
    )


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


def kafka_options(settings: Settings) -> dict[str, Any]:
    """Give address and security of the configured broker, for any kafka-python client.

    Raises
    ------
    EndpointError
        See ``bootstrap_servers``.
    """
    address = {"bootstrap_servers": bootstrap_servers(settings).split(",")}
    return {**address, **security_options(settings.kafka)}


def online_store_url(settings: Settings) -> str:
    """Give the online store's address.

    Parameters
    ----------
    settings : Settings
        ``online.url`` wins; else what ``up`` left below ``home``.

    Returns
    -------
    str
        ``redis://host:port/db``. That it answers is not checked.

    Raises
    ------
    EndpointError
        If neither names one.
    """
    if settings.online.url is not None:
        return settings.online.url.get_secret_value()
    return _embedded(settings, "online_store_url", "online.url")


def _embedded(settings: Settings, key: str, setting: str) -> str:
    file = endpoints_file(settings)
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return str(found[key])
    except FileNotFoundError:
        raise EndpointError(
            f"'{setting}' is not set and no embedded services run below '{settings.home}'; set it, or "
            f"{_REMEDY}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EndpointError(f"'{file}' cannot be read ({error}); {_REMEDY}") from None
