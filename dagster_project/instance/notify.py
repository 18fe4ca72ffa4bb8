"""One way out for bad news: the log, and a webhook when one is set."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request

log = logging.getLogger("intentstore.notify")
TIMEOUT_SECONDS = 5.0  # a slow receiver must not hold up the daemon


def send(title: str, text: str, webhook: str | None) -> bool:
    """Log a notice and post it.

    Parameters
    ----------
    title : str
        What it is about.
    text : str
        One line with the remedy.
    webhook : str, optional
        Address that takes JSON ``{"title", "text"}``; none = log only.

    Returns
    -------
    bool
        False when the webhook could not be reached; the log has the notice in any case.
    """
    log.error("%s: %s", title, text)
    if not webhook:
        return True
    body = json.dumps({"title": title, "text": text}).encode()
    request = urllib.request.Request(
        webhook, data=body, headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
            return True
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        log.warning("webhook of the notices does not answer (%s); check DAGSTER_WEBHOOK", error)
        return False
