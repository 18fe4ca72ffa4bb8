"""A made-up settings file full of secrets, and the judge of what commands let out."""

from __future__ import annotations

from urllib.parse import quote

# Each is a word of its own, so that a hit tells which one; with the letters that have to be percent-encoded.
SECRETS = {
    "sasl": "hush-sasl 1e5",
    "online": "hush-online@/%",
    "query": "hush-query",
    "user": "hush-user",
    "endpoint": "hush-endpoint@/%",
    "key": "hush-key",
    "token": "hush-token",
    "spark": "hush-spark",
}
ENCODED = {name: quote(text, safe="") for name, text in SECRETS.items()}
KAFKA = f"""
[kafka]
bootstrap_servers = "127.0.0.1:1"
security_protocol = "SASL_PLAINTEXT"
sasl_username = "shop"
sasl_password = "{SECRETS["sasl"]}"
"""
ENDPOINT = f"""
[endpoint]
url = "http://{ENCODED["user"]}:{ENCODED["endpoint"]}@127.0.0.1:1/v1?key={ENCODED["query"]}"
api_key = "{SECRETS["key"]}"
model = "m"
attempts = 1
[intents]
source = "endpoint"
"""
REST = f"""
[http]
tokens = ["{SECRETS["token"]}"]
[spark.conf]
"spark.hadoop.fs.s3a.secret.key" = "{SECRETS["spark"]}"
"""


def online(port: int) -> str:
    """Give the section of an online store on this port of this machine."""
    address = f"redis://:{ENCODED['online']}@127.0.0.1:{port}/0?client_name={ENCODED['query']}"
    return f'[online]\nurl = "{address}"\n'


def hushed(output: str) -> None:
    """See that something was said, and no secret or part of one."""
    assert output.strip()
    for form in (*SECRETS.values(), *ENCODED.values(), "hush-"):
        assert form not in output, output[max(0, output.find(form) - 300) : output.find(form) + 100]
