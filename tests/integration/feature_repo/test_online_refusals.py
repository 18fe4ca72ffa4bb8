"""Refusals of a real valkey: rights, sentinels, replicas, clusters, passwords; one line that names the remedy
and no secret.
"""

from __future__ import annotations

import asyncio
import subprocess
import traceback
from urllib.parse import quote

import pytest
import redis

from feature_repo.stores.packed.client import AsyncPackedClient, OnlineStoreError, PackedClient
from feature_repo.stores.packed.codec import PackedSchema
from feature_repo.stores.packed.refusals import COMMANDS, KEYS
from streaming.services import processes
from streaming.services import valkey as embedded_valkey
from streaming.services.processes import free_port

HUSH = "hush@/%?#:1e5"
ROWS = [
    (b"feast:p:v:{%d}" % number, PackedSchema("v", (("n", "i64"),)).encode({"n": number}, event_us=1))
    for number in range(200)
]


def user(valkey, *rights):
    redis.Redis(port=valkey.port).acl_setuser(
        "shop", enabled=True, reset=True, passwords=[f"+{HUSH}"], keys=["*"], commands=[]
    )
    redis.Redis(port=valkey.port).execute_command("ACL", "SETUSER", "shop", *rights)
    return f"redis://shop:{quote(HUSH, safe='')}@127.0.0.1:{valkey.port}/0"


def told(call):
    with pytest.raises(OnlineStoreError) as caught:
        call()
    written = "".join(traceback.format_exception(caught.value))
    assert HUSH not in written
    assert quote(HUSH, safe="") not in written
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rights", "command"),
    [
        (["-eval", "-evalsha"], "evalsha"),
        (["-eval"], "eval"),
        (["-getrange"], "getrange"),
        (["-pexpireat"], "pexpireat"),
    ],
)
@pytest.mark.parametrize("rows", [ROWS[:1], ROWS], ids=["one call", "pipeline"])
def test_a_user_without_a_command_of_the_script_is_told_which_to_allow(valkey, rights, command, rows):
    url = user(valkey, "+@all", *rights)
    if command == "eval":  # the asyncio client sends the script itself
        message = told(lambda: asyncio.run(AsyncPackedClient(url).write(rows, 1000)))
    else:
        message = told(lambda: PackedClient(url).write(rows, 1000))
    assert f"ACL SETUSER <user> +{command} " in message
    assert len(message) < 900


def test_the_named_commands_and_keys_are_all_that_is_needed(valkey):
    client = PackedClient(user(valkey, "resetkeys", *KEYS.split(), *COMMANDS.split()))
    rows = [(key.replace(b"feast:p:v", b"feast:p:needed"), value) for key, value in ROWS]
    assert client.write(rows, 1_000_000) == len(rows)
    assert client.read([rows[0][0]]) == [rows[0][1]]
    client.put(b"feast-watermark:p:needed", b"1")
    assert client.get(b"feast-watermark:p:needed") == b"1"
    assert client.delete(b"feast:p:needed:*") == len(rows)
    assert "ACL SETUSER <user> ~feast:*" in told(lambda: client.put(b"elsewhere", b"1"))


def test_a_wrong_password_names_the_setting_and_the_encoding(valkey):
    user(valkey, "+@all")
    message = told(
        lambda: PackedClient(f"redis://shop:wrong{quote(HUSH, safe='')}@127.0.0.1:{valkey.port}/0").get(b"k")
    )
    assert "online.url" in message and "%40" in message


@pytest.fixture
def start(valkey, tmp_path):
    """Start more servers of the same program; they end with the test."""
    started = []

    def made(*options):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(type(valkey)(folder, *options))
        return PackedClient(started[-1].url)

    yield made
    for server in started:
        server.kill()


def test_a_node_of_a_cluster_names_the_setting(valkey, start):
    message = told(lambda: start("--cluster-enabled", "yes").write(ROWS))
    assert "online.cluster = true" in message
    assert "online.cluster = false" in told(lambda: PackedClient(valkey.url, cluster=True).read([b"k"]))


def test_a_replica_names_the_primary_as_the_remedy(valkey, start):
    replica = start("--replicaof", "127.0.0.1", str(valkey.port))
    assert "name the primary" in told(lambda: replica.write(ROWS[:1]))


def test_a_sentinel_is_recognised(valkey, tmp_path):
    port, config = free_port(), tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {valkey.port} 1\n")
    process = subprocess.Popen(
        [*valkey.process.args[:1], str(config), "--sentinel"], stdout=subprocess.DEVNULL
    )
    try:
        assert processes.wait_until(
            lambda: embedded_valkey.answers(port), 20.0, lambda: process.poll() is None
        )
        client = PackedClient(f"redis://127.0.0.1:{port}/0")
        for call in (
            lambda: client.read([b"k"]),
            lambda: client.write(ROWS),
            lambda: client.write(ROWS[:1]),
            lambda: client.get(b"k"),
        ):
            assert "is it a sentinel?" in told(call)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "option", ["foo=1", "db=x", f"socket_timeout={quote('hush', safe='')}", "protocol=9", "ssl_ca_certs=x"]
)
def test_an_option_that_nobody_knows_is_refused_before_connecting(option):
    client = PackedClient(f"redis://:{quote(HUSH, safe='')}@127.0.0.1:1/0?{option}")
    assert "after '?'" in told(lambda: client.get(b"k"))
    assert "after '?'" in told(lambda: asyncio.run(AsyncPackedClient(client.url).read([b"k"])))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:6379", f"redis://:{HUSH}@127.0.0.1:1/0", "redis://127.0.0.1:x", "redis://127.0.0.1/shop"],
)
def test_an_address_that_cannot_be_one_is_refused_before_connecting(address):
    assert "correct online.url" in told(lambda: PackedClient(address).get(b"k"))


def test_a_store_that_is_away_is_named_without_its_password(valkey):
    assert "redis://127.0.0.1:1/0" in told(
        lambda: PackedClient(f"redis://:{quote(HUSH, safe='')}@127.0.0.1:1/0").get(b"k")
    )
