"""Addresses: no part of a password is ever printed, and what cannot be an address is refused before anything
connects.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contract.addresses import AddressError, checked, checked_brokers, shown, without_addresses
from feature_repo.contract.dataset.folder import DatasetFolderError, click_files

HUSH = "HUSH"
pieces = st.text(alphabet="ab1@/%?#:;,&=.-_[]\\ \n\té", max_size=6)


@given(
    pieces, pieces, st.sampled_from(["redis://", "rediss://", "https://", ""]), st.sampled_from(["", "user"])
)
def test_no_part_of_a_password_is_shown(before, after, scheme, user):
    password = f"{before}{HUSH}{after}"
    for address in (
        f"{scheme}{user}:{password}@host:6379/0",
        f"{scheme}{user}:{password}@host",
        f"{scheme}host:6379/0?password={password}",
        f"{scheme}{user}:x@host/0?a=b&password={password}",
        f"{scheme}host/#{password}",
    ):
        assert HUSH not in shown(address), address


@given(pieces, pieces)
def test_no_part_of_a_password_is_in_a_refusal(before, after):
    for address in (
        f"redis://:{before}{HUSH}{after}@host:6379/0",
        f"redis://host/0?password={before}{HUSH}{after}",
        f":{before}{HUSH}{after}@host",
    ):
        try:
            checked(address, ("redis",), "redis://host:6379/0")
        except AddressError as error:
            assert HUSH not in str(error)
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("host:6379", "has no scheme"),
        ("http://host", "expected redis or rediss"),
        ("redis://host:x", "percent-encoding"),
        ("redis://host:0", "port '0'"),
        ("redis://host:70000", "port '70000'"),
        ("redis://host:", "port ''"),
        ("redis:///0", "no host"),
        ("redis+sentinel://host:26379/main", "sentinel"),
        ("sentinel://host:26379", "sentinel"),
        ("redis://a:1,b:2/0", "several hosts"),
        ("redis://:a/b@host", "percent-encoding"),
        ("redis://:a%b@host", "stands alone"),
        ("redis://ho st", "percent-encoding"),
        ("", "has no scheme"),
    ],
)
def test_what_cannot_be_an_address_is_refused_with_the_remedy(address, told):
    with pytest.raises(AddressError, match=told):
        checked(address, ("redis", "rediss"), "redis://host:6379/0")


@pytest.mark.parametrize(
    "address",
    [
        "redis://host",
        "redis://h-1.a_b:6379/15",
        "redis://:p%40%2F%25@host:1/0",
        "redis://u:p@ss@host",
        "redis://[::1]:6379/0",
        "redis://host/0?password=a%40b",
    ],
)
def test_right_addresses_are_taken_as_they_are(address):
    assert checked(f" {address}\n", ("redis",), "redis://host:6379/0") == address


@pytest.mark.parametrize(
    ("brokers", "told"),
    [
        ("host", "host:port"),
        ("host:x", "host:port"),
        ("SASL_SSL://host:9092", "security_protocol"),
        ("a:b@host:9092", "sasl_username"),
        (" , ", "no address"),
        ("host:0", "port '0'"),
        ("a:1,b", "host:port"),
    ],
)
def test_what_is_no_list_of_brokers_is_refused(brokers, told):
    with pytest.raises(AddressError, match=told):
        checked_brokers(brokers)


def test_addresses_inside_of_foreign_messages_are_shown_likewise():
    told = without_addresses(
        "Client error '401' for url 'http://u:hush@host:1/v1?key=hush'\nsee redis://:hu/sh@host"
    )
    assert told == "Client error '401' for url 'http://host:1/v1'\nsee redis://(hidden)"


@pytest.mark.parametrize(
    "address", [f"s3a://key:{HUSH}@bucket/shop", f"s3://key:a@/:%#{HUSH}@bucket", f"hdfs://u:{HUSH}/x@h/p"]
)
def test_a_folder_that_is_an_address_is_refused_without_its_password(address):
    with pytest.raises(DatasetFolderError, match="is an address; copy it to this machine") as caught:
        click_files(Path(address))
    assert HUSH not in str(caught.value)
