"""Addresses of servers: checked before anything connects, and printed without what must not be seen. Connects
to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_HOST: Final = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+"
# A login ends at the last '@'; none may follow the host, or nobody could tell where the password ends.
_ADDRESS: Final = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://|(?!\S*://))(?:(?P<login>[^/?#\s]*)@)?(?P<host>"
    rf"{_HOST})?(?::(?P<port>\d*))?(?P<path>/[^?#@\s]*)?(?:\?(?P<query>[^#@\s]*))?(?:#[^@\s]*)?"
)
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BROKER: Final = re.compile(rf"(?P<host>{_HOST}):(?P<port>\d+)")
_LONE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
HIGHEST_PORT: Final = 65_535
ENCODING: Final = (
    "in user and password write % as %25, @ as %40, / as %2F, : as %3A, ? as %3F, # as %23 "
    "(percent-encoding; Python's urllib.parse.quote(text, safe='') does it)"
)


class AddressError(ValueError):
    """An address that cannot be used; the text says why and the remedy, and never holds user, password or
    query.
    """


def shown(address: str) -> str:
    """Return an address without user, password and query. The one way in which addresses are printed here.

    Parameters
    ----------
    address : str
        Well-formed or not; several are separated by commas.

    Returns
    -------
    str
        What is left; where one cannot tell which part is the password, nothing but the scheme.

    Examples
    --------
    >>> shown("redis://:secret@host:6379/0"), shown("rediss://host/0?password=secret")
    ('redis://host:6379/0', 'rediss://host/0')
    >>> shown("redis://user:se/cr@t@host"), shown("broker1:9092,broker2:9092")
    ('redis://(hidden)', 'broker1:9092,broker2:9092')
    """
    whole = _ADDRESS.fullmatch(address.strip())
    parts = [part.strip() for part in address.split(",")]
    if whole is None and all(map(_BROKER.fullmatch, parts)):
        return ",".join(parts)
    if whole is None:
        scheme = _SCHEME.match(address.strip())
        return f"{scheme[1]}://(hidden)" if scheme else "(hidden)"
    scheme_text = f"{whole['scheme']}://" if whole["scheme"] else ""
    port = f":{whole['port']}" if whole["port"] else ""
    return f"{scheme_text}{whole['host'] or ''}{port}{whole['path'] or ''}"


def shown_path(path: str) -> str:
    """Return an address that was given as a path, as `shown` prints it; empty where it is none.

    Examples
    --------
    >>> shown_path("s3a:/key:secret@bucket/shop"), shown_path("/data/shop")
    ('s3a://bucket/shop', '')
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", path, re.DOTALL)
    return shown(f"{found[1]}://{found[2]}") if found else ""


def without_addresses(text: str) -> str:
    """Return another program's message with every address in it as `shown` prints it.

    Examples
    --------
    >>> without_addresses("Proxy 'http://user:secret@proxy:3128' is away")
    "Proxy 'http://proxy:3128' is away"
    """
    return re.sub(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+", lambda found: shown(found[0]), text)


def checked(address: str, schemes: Sequence[str], example: str) -> str:
    """Check an address before anything connects to it.

    Parameters
    ----------
    address : str
        ``scheme://[user:password@]host[:port][/path][?query]``; blanks and line breaks around it are dropped.
    schemes : sequence of str
        The ones that are spoken.
    example : str
        A right one, for the message.

    Returns
    -------
    str
        The address, trimmed.

    Raises
    ------
    AddressError
        No or another scheme, no host, a bad port, more than one host, or a character that has to be
        percent-encoded.
    """
    text = address.strip()
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise AddressError(f"address {shown(text)} has no scheme; write it like {example}")
    if "sentinel" in scheme[1].lower():
        raise AddressError(
            f"address {shown(text)} is that of a sentinel; write the address of the server it watches, like "
            f"{example} (redis-cli -h SENTINEL -p 26379 SENTINEL GET-MASTER-ADDR-BY-NAME name tells it)"
        )
    if scheme[1].lower() not in schemes:
        raise AddressError(
            f"address {shown(text)} has the scheme '{scheme[1]}'; expected {' or '.join(schemes)}, like "
            f"{example}"
        )
    found = _ADDRESS.fullmatch(text)
    if found is None and _several(text):
        raise AddressError(f"address {shown(text)} names several hosts; write one, like {example}")
    if found is None:
        raise AddressError(
            f"address {shown(text)} cannot be taken apart: write {example}; a port is a number, and "
            f"{ENCODING}"
        )
    if _LONE_PERCENT.search(found["login"] or ""):
        raise AddressError(f"address {shown(text)}: a % in user or password stands alone; {ENCODING}")
    if not found["host"] and scheme[1].lower() != "unix":
        raise AddressError(f"address {shown(text)} names no host; write it like {example}")
    if found["port"] is not None:
        _check_port(found["port"], shown(text), example)
    return text


def checked_brokers(addresses: str) -> str:
    """Check a list of Kafka brokers.

    Returns
    -------
    str
        ``host:port[,host:port]`` without blanks.

    Raises
    ------
    AddressError
        One of them has a scheme, a user, no port or a bad one.

    Examples
    --------
    >>> checked_brokers(" broker1:9092, broker2:9092")
    'broker1:9092,broker2:9092'
    """
    example = "broker1:9092,broker2:9092"
    parts = [part.strip() for part in addresses.split(",") if part.strip()]
    for part in parts:
        if "@" in part:
            raise AddressError(
                f"address {shown(part)} holds a user; write host:port, and the rest into "
                "kafka.sasl_username and kafka.sasl_password"
            )
        if "://" in part:
            raise AddressError(
                f"address {shown(part)} has a scheme; write host:port, like {example}, and the protocol "
                "into kafka.security_protocol"
            )
        found = _BROKER.fullmatch(part)
        if found is None:
            raise AddressError(f"address {shown(part)} is no host:port; write it like {example}")
        _check_port(found["port"], shown(part), example)
    if not parts:
        raise AddressError(f"there is no address in it; write it like {example}")
    return ",".join(parts)


def _several(text: str) -> bool:
    """Whether the text is plainly a list of hosts (and not a password with a comma)."""
    hosts = rf"(?:(?:{_HOST})(?::\d+)?)"
    return re.fullmatch(rf"[A-Za-z0-9+.-]+://{hosts}(?:,{hosts})+(?:/[\w]*)?", text) is not None


def _check_port(port: str, address: str, example: str) -> None:
    if not port or not 0 < int(port) <= HIGHEST_PORT:
        raise AddressError(
            f"address {address}: port '{port}' is none from 1 to {HIGHEST_PORT}; write it like {example}"
        )
