"""Settings: precedence, refusal of typos, secrets that stay hidden, and a default file that says what the
code does.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from feature_repo.contract.settings import Settings, SettingsError, load_settings

DEFAULT_FILE = Path(__file__).parents[4] / "intentstore.toml"


def write(folder, text):
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_flags_beat_variables_beat_the_file(tmp_path):
    file = write(tmp_path, "[session]\ngap_minutes = 1\nmax_items = 11\nmin_length = 4\n")
    environ = {
        "INTENTSTORE_SESSION__GAP_MINUTES": "2",
        "INTENTSTORE_SESSION__MAX_ITEMS": "22",
        "HOME": "/elsewhere",
    }
    settings = load_settings(file, environ, {"session.gap_minutes": 3.0, "session.max_items": None})
    assert (settings.session.gap_minutes, settings.session.max_items, settings.session.min_length) == (
        3.0,
        22,
        4,
    )


def test_home_moves_every_run_time_folder(tmp_path):
    settings = load_settings(write(tmp_path, ""), {"INTENTSTORE_HOME": str(tmp_path / "h")})
    for path in (
        settings.lake,
        settings.assets_dir,
        settings.models_dir,
        settings.state_dir,
        settings.table("clicks"),
    ):
        assert path.is_relative_to(tmp_path / "h")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[session]\ngap_minuts = 1\n", "session.gap_minuts"),
        ("[session]\ngap_minutes = 'ten'\n", "session.gap_minutes"),
        ("[intents]\ntop_r = -1\n", "intents.top_r"),
        ("[llm\n", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, text, named):
    with pytest.raises(SettingsError, match=named):
        load_settings(write(tmp_path, text))


def test_a_mistyped_variable_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="kafka.bootstrap_server'"):
        load_settings(write(tmp_path, ""), {"INTENTSTORE_KAFKA__BOOTSTRAP_SERVER": "localhost:9092"})


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(tmp_path / "none.toml")


def test_secrets_never_show(tmp_path):
    settings = load_settings(
        write(tmp_path, ""),
        {"INTENTSTORE_KAFKA__SASL_PASSWORD": "12345", "INTENTSTORE_ONLINE__URL": "redis://:hush@h:1/0"},
    )
    assert settings.kafka.sasl_password.get_secret_value() == "12345"
    assert "12345" not in repr(settings) and "hush" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path, ""), {"INTENTSTORE_HTTP__TOKENS": "['a', {x = 'hush'}]"})
    assert "hush" not in str(caught.value)


def test_the_settings_are_frozen(tmp_path):
    settings = load_settings(write(tmp_path, ""))
    with pytest.raises(ValueError, match="frozen"):
        settings.session.gap_minutes = 5


def test_the_default_file_holds_the_defaults_and_every_commented_key_exists():
    text = DEFAULT_FILE.read_text()
    assert load_settings(DEFAULT_FILE).model_dump(exclude={"home"}) == Settings().model_dump(exclude={"home"})
    lines = [
        line[1:] if line.startswith("#") and not line.startswith("# ") and "=" in line else line
        for line in text.splitlines()
    ]
    uncommented = "\n".join(lines)
    for section, keys in tomllib.loads(uncommented).items():
        if isinstance(keys, dict) and section != "model":
            known = type(getattr(Settings(), section)).model_fields
            assert set(keys) <= set(known), section
