"""Kinds of texts among the settings: secrets, addresses, Spark's own settings. Refusals say why and never
hold the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from feature_repo.contract.addresses import AddressError, checked, checked_brokers, shown

_LINE_BREAKS = "\r\n"


def token(secret: SecretStr) -> SecretStr:
    """Check what is sent in an HTTP header: an API key or a bearer token.

    Parameters
    ----------
    secret : SecretStr
        As it was given; files and clipboards add blanks and line breaks around it.

    Returns
    -------
    SecretStr
        Without blanks and line breaks around it.

    Raises
    ------
    ValueError
        Nothing is left, or a character that no header may carry is inside.
    """
    text = secret.get_secret_value().strip()
    if not text:
        raise ValueError("is empty; give the token, or leave the setting out")
    if not all("!" <= letter <= "~" for letter in text):
        raise ValueError(
            "holds a blank, a line break or a character beyond ASCII, which no HTTP header carries; copy "
            "it again"
        )
    return SecretStr(text)


def password(secret: SecretStr) -> SecretStr:
    """Check a password: line breaks around it are dropped, blanks belong to it.

    Raises
    ------
    ValueError
        A control character is inside.
    """
    text = secret.get_secret_value().strip(_LINE_BREAKS)
    if any(letter < " " or letter == "\x7f" for letter in text):
        raise ValueError("holds a line break or another control character; copy it again")
    return SecretStr(text)


def flat_texts(values: Any) -> Any:
    """Give a table of plain values as texts under dotted keys, as Spark names its settings; anything else is
    returned as it is.

    Examples
    --------
    >>> flat_texts({"spark": {"executor": {"cores": 2}}, "spark.ui.enabled": False})
    {'spark.executor.cores': '2', 'spark.ui.enabled': 'false'}
    """
    if not isinstance(values, Mapping):
        return values
    flat: dict[Any, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{rest}": text for rest, text in flat_texts(value).items()}
        else:
            flat[key] = (
                str(value).lower()
                if isinstance(value, bool)
                else str(value)
                if isinstance(value, int | float)
                else value
            )
    return flat


def _http(address: str) -> str:
    return checked(address, ("http", "https"), "http://127.0.0.1:8000/v1")


def _redis(address: SecretStr) -> SecretStr:
    return SecretStr(redis_address(address.get_secret_value()))


def redis_address(address: str) -> str:
    """Check the address of an online store; see `addresses.checked`.

    Raises
    ------
    AddressError
        It cannot be one, or its path is no number of a database, of which redis-py would silently make 0.
    """
    text = checked(address, ("redis", "rediss", "unix"), "redis://host:6379/0")
    if not text.startswith("unix") and not re.fullmatch(r"(?:/\d*)?", urlsplit(text).path):
        raise AddressError(
            f"address {shown(text)}: what follows the port is the number of a database; write it like "
            "redis://host:6379/0"
        )
    return text


HIDDEN: Final = "hidden"  # marks a field whose value no message shows, although it is no SecretStr
Password = Annotated[SecretStr, AfterValidator(password)]
Token = Annotated[SecretStr, AfterValidator(token)]
Brokers = Annotated[str, AfterValidator(checked_brokers), HIDDEN]
HttpAddress = Annotated[str, AfterValidator(_http), HIDDEN]
RedisAddress = Annotated[SecretStr, AfterValidator(_redis)]
SparkConf = Annotated[dict[str, str], BeforeValidator(flat_texts), HIDDEN]
