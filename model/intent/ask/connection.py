"""The way to an endpoint: its address, key and proxy, and what a failure on it says. Knows nothing of prompts
and answers.
"""

from __future__ import annotations

import logging
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx

from feature_repo.contract.addresses import AddressError, checked, shown, without_addresses
from feature_repo.contract.settings import EndpointSettings
from model.intent.ask import remedies

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
    secrets : tuple of str
        What no message of a server may bring into a log: key, password, and what the query holds.
    """

    url: str = field(repr=False)
    address: str
    headers: dict[str, str] = field(repr=False)
    login: tuple[str, str] | None = field(repr=False)
    proxy: str | None = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

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
        proxy = _proxy(whole)
        secrets = _secrets(settings, whole, proxy)
        return cls(url, shown(url), _key_header(settings), login, proxy, secrets)

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
        """Say in one line why a call failed: the setting, the address asked, the proxy used; never a
        secret.
        """
        text = self.without_secrets(" ".join(without_addresses(str(error)).split())) or type(error).__name__
        of_http = isinstance(error, httpx.HTTPError)
        if of_http:
            text = f"endpoint.url {self.address}: {type(error).__name__}: {text}; {self._remedy(error)}"
        if self.proxy is None:
            return text
        asked = "" if of_http else f"{self.address} was "
        return (
            f"{text} ({asked}asked through the proxy {shown(self.proxy)} of the environment; name the host "
            "in NO_PROXY if it is to be asked directly)"
        )

    def without_secrets(self, text: str) -> str:
        """Return a text without the secrets of this endpoint; servers quote the key that they refuse."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def _remedy(self, error: BaseException) -> str:
        if isinstance(error, httpx.TimeoutException):
            return SLOW_REMEDY
        if isinstance(error, httpx.ProxyError):
            return remedies.of_proxy(str(error))
        runs = "the server runs" if self.proxy is None else "the proxy and the server run"
        return f"check that {runs} and that endpoint.url names it"


def _secrets(settings: EndpointSettings, url: httpx.URL, proxy: str | None) -> tuple[str, ...]:
    """Return what is secret, as it is and percent-encoded, the longest first."""
    found = {url.password, *(value for name, value in url.params.multi_items() if "version" not in name)}
    if settings.api_key is not None:
        found.add(settings.api_key.get_secret_value())
    if proxy is not None:
        found.add(httpx.URL(proxy).password)
    every = {form for secret in found if secret for form in (secret, quote(secret, safe=""))}
    return tuple(sorted(every, key=len, reverse=True))


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
