"""One meaning of files, variables, ``--set`` and flags, for every program."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_repo.contract import cli
from feature_repo.contract.settings import SettingsError

NOTHING = Path("/dev/null")


def test_a_set_pair_holds_where_its_flag_was_not_given() -> None:
    settings = cli.settings_of(NOTHING, pairs=["dataset.path=/data/shop"], dataset__path=None)
    assert settings.dataset.path == Path("/data/shop")


def test_a_given_flag_wins_over_a_set_pair() -> None:
    settings = cli.settings_of(NOTHING, pairs=["dataset.path=/data/shop"], dataset__path="/data/other")
    assert settings.dataset.path == Path("/data/other")


@pytest.mark.parametrize("given", [None, "/data/home"])
def test_a_home_of_a_set_pair_holds_unless_the_flag_is_given(given: str | None) -> None:
    settings = cli.settings_of(NOTHING, home=given, pairs=["home=/data/pair"])
    assert settings.home == Path(given or "/data/pair")


def test_a_pair_without_a_sign_is_one_line() -> None:
    with pytest.raises(SettingsError, match=r"--set 'home\.\.\.' is no KEY=VALUE"):
        cli.settings_of(NOTHING, pairs=["home"])
    with pytest.raises(SettingsError) as caught:
        cli.settings_of(NOTHING, pairs=["endpoint.api_key:HUSH"])
    assert "endpoint.api_key" in str(caught.value) and "HUSH" not in str(caught.value)
