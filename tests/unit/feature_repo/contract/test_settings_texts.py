"""Variables and flags are texts: every field of the settings is walked, none is listed by hand."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from feature_repo.contract.settings import Settings, SettingsError, load_settings
from feature_repo.contract.texts import alternatives
from model.config import ConfigError, ModelConfig, make_config

NOTHING = Path("/dev/null")
ODD = [
    "1e5",
    "0x10",
    "1.10",
    "+4917",
    "007",
    "7 # rest",
    "true",
    "False",
    "[a]",
    "['a']",
    '{x = "y"}',
    " led",
    "trailed ",
    '"quoted"',
    "'quoted'",
    "1_000",
    "2026-01-01",
    "inf",
    "a=b",
    "\\n",
    "käse",
    "a,b",
]
ADDRESSES = {
    "kafka.bootstrap_servers": "broker1:9092,[::1]:9093",
    "online.url": "rediss://user:p%40ss@host:6379/0",
    "endpoint.url": "https://user:p%40ss@host:8000/v1?key=1e5",
}
HEADERS = ("endpoint.api_key", "http.tokens")


def leaves(model: type[BaseModel], above: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += leaves(kind, f"{above}{name}.")
        else:
            found.append((f"{above}{name}", kind))
    return found


FIELDS = leaves(Settings)
TEXTS = [
    (name, kind) for name, kind in FIELDS if any(one in (str, Path, SecretStr) for one in alternatives(kind))
]
WORDS = [
    (name, kind) for name, kind in FIELDS if any(get_origin(one) is Literal for one in alternatives(kind))
]
NUMBERS = [
    (name, kind)
    for name, kind in FIELDS
    if {int, float, bool} & {one for one in alternatives(kind) if isinstance(one, type)}
]
LISTS = [(name, kind) for name, kind in FIELDS if get_origin(kind) in (tuple, dict) or "dict" in str(kind)]


def variable(name: str) -> str:
    return "INTENTSTORE_" + name.upper().replace(".", "__")


# What a field needs beside it before any of its words but the default may stand.
BESIDE = {"kafka.partitioner": {"kafka.partition_check": "adopt"}}


def by_variable(name: str, text: str) -> Any:
    beside = {variable(other): word for other, word in BESIDE.get(name, {}).items()}
    return at(load_settings(NOTHING, {**beside, variable(name): text}), name)


def by_flag(name: str, text: str) -> Any:
    return at(load_settings(NOTHING, {}, {**BESIDE.get(name, {}), name: text}), name)


def at(settings: Any, name: str) -> Any:
    for key in name.split("."):
        settings = getattr(settings, key)
    return settings.get_secret_value() if isinstance(settings, SecretStr) else settings


NEVER_BLANK = {"endpoint.api_key_header"}  # the name of a header


def names(fields: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in fields]


def test_every_field_is_of_one_kind_that_is_tried_below():
    assert sorted(names(TEXTS) + names(WORDS) + names(NUMBERS) + names(LISTS)) == sorted(names(FIELDS))


@pytest.mark.parametrize("read", [by_variable, by_flag])
@pytest.mark.parametrize(("name", "kind"), TEXTS, ids=names(TEXTS))
def test_a_text_arrives_letter_by_letter(name, kind, read):
    for text in [ADDRESSES[name]] if name in ADDRESSES else ODD:
        if name in HEADERS and not all("!" <= letter <= "~" for letter in text.strip()):
            with pytest.raises(SettingsError, match=name):
                read(name, text)
            continue
        wanted: Any = text.strip() if name in HEADERS else text
        wanted = Path(text) if Path in alternatives(kind) else wanted
        assert read(name, text) == (wanted.absolute() if name == "home" else wanted)


@pytest.mark.parametrize("read", [by_variable, by_flag])
@pytest.mark.parametrize(("name", "kind"), FIELDS, ids=names(FIELDS))
def test_none_means_none_where_the_field_has_it_and_the_word_where_that_is_one(name, kind, read):
    for text in ("none", "null", ""):
        if any(text in get_args(one) for one in alternatives(kind)):
            assert read(name, text) == text
        elif NoneType in alternatives(kind):
            assert read(name, text) is None
        elif name in NEVER_BLANK and not text:
            with pytest.raises(SettingsError, match=f"'{name}'"):
                read(name, text)
        elif (name, kind) in TEXTS:
            wanted = Path(text).absolute() if name == "home" else text
            assert read(name, text) == wanted
        else:
            with pytest.raises(SettingsError, match=f"'{name}'"):
                read(name, text)


@pytest.mark.parametrize("read", [by_variable, by_flag])
@pytest.mark.parametrize(("name", "kind"), WORDS, ids=names(WORDS))
def test_a_word_is_one_of_the_fields_words(name, kind, read):
    for word in (word for one in alternatives(kind) for word in get_args(one)):
        assert read(name, f" {word} ") == word
    for text in ODD:
        with pytest.raises(SettingsError, match=f"'{name}'"):
            read(name, text)


@pytest.mark.parametrize("read", [by_variable, by_flag])
@pytest.mark.parametrize(("name", "kind"), NUMBERS, ids=names(NUMBERS))
def test_a_number_is_read_as_its_field_says_and_nothing_else_is(name, kind, read):
    kinds = alternatives(kind)
    right = (
        {"true": True, "0": False}
        if bool in kinds
        else {" 20 ": 20, "0x14": 20}
        if int in kinds
        else {"1": 1.0, "1e-1": 0.1, " 0.5 ": 0.5}
    )
    for text, value in right.items():
        try:
            assert read(name, text) == value
            assert type(read(name, text)) is type(value)
        except SettingsError as error:  # out of this field's range: read as a number, and refused as one
            assert "greater than" in str(error) or "less than" in str(error)
    for text in (
        "7 # rest",
        "[a]",
        "[1]",
        "seven",
        "{x = 1}",
        '"7"',
        "7;",
        "2026-01-01",
        "inf",
        "-inf",
        "nan",
    ):
        with pytest.raises(SettingsError, match=f"'{name}'"):
            read(name, text)


@pytest.mark.parametrize("read", [by_variable, by_flag])
@pytest.mark.parametrize(("name", "kind"), LISTS, ids=names(LISTS))
def test_lists_and_tables_are_parsed_for_fields_of_that_type_alone(name, kind, read):
    if name == "http.tokens":
        assert [token.get_secret_value() for token in read(name, '["1e5", "0x10"]')] == ["1e5", "0x10"]
        assert read(name, "[]") == ()
        wrong = ["1e5", "true", "[1e5]", "[a]", '{"a" = "b"}', '["a", "b"', '["a b"]', '[""]']
    elif name == "session.event_types.weights":
        assert read(name, '{"cart" = 2}') == read(name, '{"cart": 2.0}') == {"cart": 2.0}
        wrong = ["1e5", "true", "[a]", '{"cart" = "much"}', '{"cart" = -1}', '{"cart": 1e9}']
    elif name == "streaming.limits.attributes":
        found = read(name, '{"price" = {below = 5}, "language" = {equal = ["en", "5"]}}')
        assert found == read(name, '{"price": {"below": 5}, "language": {"equal": ["en", "5"]}}')
        assert (found["price"].below, found["language"].equal) == (5.0, ("en", "5"))
        assert read(name, '{"new" = {equal = true}, "size" = {equal = 5}}')["new"].equal is True
        wrong = [
            "1e5",
            "true",
            "[a]",
            '{"price" = 5}',
            '{"price" = {under = 5}}',
            '{"price" = {below = "5 euros"}}',
        ]
    elif name.startswith(("session.event_types", "streaming.limits")):
        assert read(name, '["view", "1e5"]') == ("view", "1e5")
        assert read(name, "[]") == ()
        wrong = ["1e5", "true", "[1e5]", "[a]", '{"a" = "b"}', '["a", "b"', '[""]']
    else:
        assert read(name, '{"spark.a" = "1.10"}') == read(name, '{"spark.a": "1.10"}') == {"spark.a": "1.10"}
        wrong = ["1e5", "true", "[a]", "['a']", "{a"]
    for text in wrong:
        with pytest.raises(SettingsError, match=f"'{name}"):
            read(name, text)


def test_keys_below_a_table_are_texts_too():
    settings = load_settings(
        NOTHING, {"INTENTSTORE_MODEL__EPOCHS": "3"}, {"spark.conf.spark.executor.memory": "1.10"}
    )
    assert settings.spark.conf == {"spark.executor.memory": "1.10"}
    assert make_config(settings.model).epochs == 3


@given(
    st.text(
        alphabet=st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs", "Cc"]),
        min_size=1,
    )
)
def test_any_password_arrives_as_it_is(text):
    assume(text.strip().lower() not in {"", "none", "null"})
    assert by_variable("kafka.sasl_password", text) == by_flag("kafka.sasl_password", text) == text


@pytest.mark.parametrize("name", ModelConfig.model_fields)
def test_keys_of_the_model_are_read_by_their_type(name):
    kinds = alternatives(ModelConfig.model_fields[name].annotation)
    default = ModelConfig.model_fields[name].default
    assert getattr(make_config({name: str(default).lower()}), name) == default
    if str not in kinds:
        with pytest.raises(ConfigError, match=name):
            make_config({name: "7 # rest"})


def test_a_list_of_the_model_is_given_as_one():
    assert make_config({"parts": '["intents"]'}).parts == ("intents",)
    assert make_config({"device": "1e5"}).device == "1e5"


def test_a_number_for_a_text_in_the_file_is_refused_since_its_spelling_is_lost(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[endpoint]\nmodel = 3.10\n")
    with pytest.raises(
        SettingsError, match=r"'endpoint.model' = 3.1: a text is expected; write it in quotes"
    ):
        load_settings(file)
    file.write_text("[spark.conf]\nspark.executor.cores = 2\n'spark.ui.enabled' = false\n")
    assert load_settings(file).spark.conf == {"spark.executor.cores": "2", "spark.ui.enabled": "false"}


def test_the_variable_is_named_with_the_setting():
    with pytest.raises(SettingsError, match=r"'kafka.partitions' \(INTENTSTORE_KAFKA__PARTITIONS\) = 'four'"):
        load_settings(NOTHING, {"INTENTSTORE_KAFKA__PARTITIONS": "four"})


HUSH = "hush-1e5"


@pytest.mark.parametrize(
    "environ",
    [
        {"ENDPOINT__API_KEY": f"{HUSH}\nX-Other: 1"},
        {"ENDPOINT__API_KEY": f"{HUSH} b"},
        {"ENDPOINT__API_KEY": f"{HUSH}é"},
        {"KAFKA__SASL_PASSWORD": f"{HUSH}\nb"},
        {"KAFKA__SASL_PASSWORT": HUSH},
        {"KAFKA": HUSH},
        {"KAFKA": f"{{sasl_password = ['{HUSH}']}}"},
        {"KAFKA__SASL_PASSWORD__X": HUSH},
        {"HTTP__TOKENS": HUSH},
        {"HTTP__TOKENS": f"['a', {{x = '{HUSH}'}}]"},
        {"HTTP__TOKENS": f"['{HUSH} b']"},
        {"ONLINE__URL": f"redis://:{HUSH}/x@host:6379/0"},
        {"ONLINE__URL": f"redis://:x/{HUSH}@host:6379/0"},
        {"ONLINE__URL": f"redis://:{HUSH}?b@host"},
        {"ONLINE__URL": f"redis://:{HUSH}#b@host"},
        {"ONLINE__URL": f"redis://:{HUSH}%zz@host"},
        {"ONLINE__URL": f"redis://:{HUSH}@host:abc/0"},
        {"ONLINE__URL": f"redis://:{HUSH}@host:0/0"},
        {"ONLINE__URL": f"redis://:{HUSH}@host:99999/0"},
        {"ONLINE__URL": f":{HUSH}@host:6379"},
        {"ONLINE__URL": f"redis://host:6379/0?password=a@{HUSH}"},
        {"ONLINE__URL": f"redis+sentinel://:{HUSH}@host:26379/name"},
        {"ONLINE__URL": f"redis://:{HUSH}@h1:26379,h2:26379"},
        {"ONLINE__URL": f"http://:{HUSH}@host"},
        {"ONLINE__URL": f"redis://:{HUSH}@"},
        {"ONLINE__URL": f"redis://user:{HUSH} x@host"},
        {"ENDPOINT__URL": f"host:8000/v1?key={HUSH}"},
        {"ENDPOINT__URL": f"ftp://a:{HUSH}@host"},
        {"ENDPOINT__URL": f"http://a:{HUSH}@host:x"},
        {"KAFKA__BOOTSTRAP_SERVERS": f"user:{HUSH}@broker:9092"},
        {"KAFKA__BOOTSTRAP_SERVERS": f"SASL_SSL://user:{HUSH}@broker:9092"},
        {"SPARK__CONF": f"[{HUSH}"},
        {"SPARK__CONF": f'{{"a" = ["{HUSH}"]}}'},
    ],
    ids=lambda environ: (
        next(iter(environ.items()))[0] + ":" + next(iter(environ.values())).replace(HUSH, "*")
    ),
)
def test_what_is_refused_is_named_in_one_line_without_its_value(environ):
    variables = {f"INTENTSTORE_{name}": text for name, text in environ.items()}
    with pytest.raises(SettingsError) as caught:
        load_settings(NOTHING, variables)
    written = "".join(traceback.format_exception(caught.value))
    assert HUSH not in written
    assert "\n" not in str(caught.value)
    assert next(iter(environ)).lower().split("__")[0] in str(caught.value)


@pytest.mark.parametrize("name", ["ENDPOINT__API_KEY", "KAFKA__SASL_PASSWORD"])
def test_line_breaks_around_a_secret_are_dropped(name):
    key = name.lower().replace("__", ".")
    assert at(load_settings(NOTHING, {f"INTENTSTORE_{name}": f"{HUSH}\r\n"}), key) == HUSH


def test_settings_never_print_a_secret():
    settings = load_settings(
        NOTHING,
        {
            "INTENTSTORE_ENDPOINT__URL": f"http://a:{HUSH}@h/v1?key={HUSH}",
            "INTENTSTORE_ONLINE__URL": f"redis://:{HUSH}@h",
            "INTENTSTORE_ENDPOINT__API_KEY": HUSH,
            "INTENTSTORE_HTTP__TOKENS": f"['{HUSH}']",
            "INTENTSTORE_KAFKA__SASL_PASSWORD": HUSH,
            "INTENTSTORE_SPARK__CONF": f'{{"k" = "{HUSH}"}}',
        },
    )
    assert HUSH not in repr(settings) + str(settings)
