"""The way to an endpoint: its address, key and proxy, and what a failure on it says. Knows nothing of prompts
and answers.
"""

from __future__ import annotations

import logging
import urllib.request
from dataclasses import dataclass, field

import httpx

from feature_repo.contract.addresses import AddressError, checked, shown, without_addresses
from feature_repo.contract.settings import EndpointSettings

_PATH = "/chat/completions"
SLOW_REMEDY = "raise endpoint.timeout_seconds or lower endpoint.concurrency"
_PROXIES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True)
class Connection:
    """What a client of the endpoint needs; its text holds no secret.

    Attributes
    ----------
    url : str
        Of chat completions, with its query and without user and password.
    address : str
        The same as it may be printed.
    proxy : str or None
        That of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, without the hosts of NO_PROXY).
    """

    url: str = field(repr=False)
    address: str
    headers: dict[str, str] = field(repr=False)
    login: tuple[str, str] | None = field(repr=False)
    proxy: str | None = field(repr=False)

    @classmethod
    def of(cls, settings: EndpointSettings) -> Connection:
        """Read address, key and proxy.

        Parameters
        ----------
        settings : EndpointSettings
            With a url.

        Raises
        ------
        AddressError
            An address, or the proxy's, that cannot be used.
        """
        whole = httpx.URL(checked(settings.url or "", ("http", "https"), "http://127.0.0.1:8000/v1"))
        path = whole.path.rstrip("/")
        if not path.endswith(_PATH):
            path += _PATH if path.endswith("/v1") else f"/v1{_PATH}"
        login = (whole.username, whole.password) if whole.userinfo else None
        url = str(whole.copy_with(path=path, username=None, password=None))
        return cls(url, shown(url), _key_header(settings), login, _proxy(whole))

    def client(self, timeout_seconds: float, connections: int) -> httpx.Client:
        """Open a client.

        Raises
        ------
        AddressError
            The proxy is one that this installation cannot speak to.
        """
        hide_addresses()
        try:
            # The environment's proxy is chosen above, so that a failure can name it; its certificates are
            # still used.
            return httpx.Client(
                timeout=timeout_seconds,
                limits=httpx.Limits(max_connections=connections),
                headers=self.headers,
                auth=self.login,
                proxy=self.proxy,
                trust_env=False,
                verify=httpx.create_ssl_context(),
            )
        except ImportError:
            reason = (
                f"the proxy {shown(self.proxy or '')} of the environment needs a further package: pip "
                "install 'httpx[socks]'"
            )
        raise AddressError(reason)

    def reason(self, error: BaseException) -> str:
        """Say in one line why a call failed: the setting, the address asked, the proxy used; never the
        key.
        """
        text = " ".join(without_addresses(str(error)).split()) or type(error).__name__
        if isinstance(error, httpx.HTTPError):
            slow = isinstance(error, httpx.TimeoutException)
            remedy = SLOW_REMEDY if slow else "check that the server runs and that endpoint.url names it"
            text = f"endpoint.url {self.address}: {type(error).__name__}: {text}; {remedy}"
        if self.proxy is None:
            return text
        return (
            f"{text} (asked through the proxy {shown(self.proxy)} of the environment; name the host in "
            "NO_PROXY if it is to be asked directly)"
        )


def _key_header(settings: EndpointSettings) -> dict[str, str]:
    if settings.api_key is None:
        return {}
    key, name = settings.api_key.get_secret_value(), settings.api_key_header
    return {name: f"Bearer {key}" if name.casefold() == "authorization" else key}


class _HiddenAddresses(logging.Filter):
    """Lets httpx's lines pass with addresses as `shown` prints them."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                shown(str(part)) if isinstance(part, httpx.URL) else part for part in record.args
            )
        return True


_hidden = _HiddenAddresses()


def hide_addresses() -> None:
    """Make httpx log addresses without query; doing it again changes nothing."""
    logging.getLogger("httpx").addFilter(_hidden)


def _proxy(url: httpx.URL) -> str | None:
    host = url.host if url.port is None else f"{url.host}:{url.port}"
    proxies = urllib.request.getproxies()
    address = proxies.get(url.scheme) or proxies.get("all")
    if not address or urllib.request.proxy_bypass(host):
        return None
    try:
        return checked(address if "://" in address else f"http://{address}", _PROXIES, "http://proxy:3128")
    except AddressError as error:
        reason = f"the proxy of the environment (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY): {error}"
    raise AddressError(reason)
