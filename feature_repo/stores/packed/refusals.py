"""What a refusal of the online store means, in one line with the remedy. Knows redis's words, not its
client.
"""

from __future__ import annotations

import re
from typing import Final

from feature_repo.contract.addresses import ENCODING, shown, without_addresses

# characters; a refused script would otherwise bring its source and its rows along
LONGEST_REASON: Final = 300
COMMANDS: Final = (
    "+get +mget +set +scan +unlink +eval +evalsha +script|load +script|exists +getrange +pexpireat +time "
    "+select"
)
KEYS: Final = "~feast:* ~feast-watermark:*"
OPTIONS: Final = (
    "db, protocol, socket_timeout, health_check_interval, max_connections, client_name, ssl_ca_certs, "
    "ssl_certfile, ssl_keyfile"
)
_COMMAND: Final = re.compile(r"the '([^']+)' command")
_OF_PIPELINE: Final = re.compile(r"\ACommand # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
_RUNS: Final = (
    "check that it runs (python -m streaming up starts the embedded one) and that online.url names it"
)


class OnlineStoreError(RuntimeError):
    """The online store cannot be reached or refuses a call; names its address and the remedy, never its
    password.
    """


def refusal(address: str, kind: str, text: str) -> OnlineStoreError:
    """Make the error of a failed call.

    Parameters
    ----------
    address : str
        Of the store, as it is set.
    kind : str
        Name of the client's error.
    text : str
        What client or server said.

    Returns
    -------
    OnlineStoreError

    Examples
    --------
    >>> print(
    ...     refusal(
    ...         "redis://u:secret@h:1/0",
    ...         "NoPermissionError",
    ...         "User u has no permissions to run the 'evalsha' command",
    ...     )
    ... )
    online store redis://h:1/0: NoPermissionError: User u has no permissions to run the 'evalsha' command;
    allow it: ACL SETUSER <user> +evalsha ...
    """
    reason = " ".join(without_addresses(_OF_PIPELINE.sub("", text)).split())[:LONGEST_REASON]
    return OnlineStoreError(f"online store {shown(address)}: {kind}: {reason}; {_remedy(kind, reason)}")


def unusable(address: str, reason: str) -> OnlineStoreError:
    """Make the error of an address with which no client can be made."""
    return OnlineStoreError(f"online store {shown(address)}: {reason}; correct online.url")


def _remedy(kind: str, reason: str) -> str:
    low, command = reason.lower(), _COMMAND.search(reason)
    if command and "no permissions" in low:
        return f"allow it: ACL SETUSER <user> +{command[1]} (all that is used here: {COMMANDS} {KEYS})"
    if "access a key" in low or "access one of the keys" in low:
        return f"allow the keys: ACL SETUSER <user> {KEYS}"
    if any(
        word in low
        for word in ("noauth", "wrongpass", "authentication required", "invalid username", "invalid password")
    ):
        return f"set user and password in online.url, redis://user:password@host:port/0; {ENCODING}"
    if "unknown command" in low:
        return (
            "this server is no store of values; is it a sentinel? Name the server it watches in online.url "
            "(redis-cli -p 26379 SENTINEL GET-MASTER-ADDR-BY-NAME name tells it)"
        )
    if "read only replica" in low:
        return "this server is a replica; name the primary in online.url"
    if kind in ("MovedError", "AskError") or "same slot" in low:
        return "this server is a node of a cluster; set online.cluster = true"
    if "cluster mode is not enabled" in low or "cluster support disabled" in low:
        return "this server is no cluster; set online.cluster = false"
    if "db index is out of range" in low:
        return "this server has fewer databases; correct the number at the end of online.url"
    return _RUNS
