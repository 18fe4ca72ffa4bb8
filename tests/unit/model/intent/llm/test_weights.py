"""Weights that are missing, broken or of another kind: one clear line each."""

from __future__ import annotations

import pytest

from feature_repo.contract.settings import LlmSettings, Settings
from model.intent.ask.answers import failure_kinds
from model.intent.ask.asker import recipe_of
from model.intent.ask.llm import LocalLlm, token_bound
from model.intent.ground.known_titles import KnownTitles
from model.intent.llm.chat import Chat, clean_answer
from model.intent.llm.weights import ModelMissingError, identity, load_network, prepare


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("/nowhere/model", "does not exist"),
        ("./nowhere", "does not exist"),
        ("/nowhere/model.gguf", "does not exist; name a GGUF file"),
        ("acme/not-cached", "not in the local Hugging Face cache"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_the_remedy(tmp_path, monkeypatch, model, said):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelMissingError, match=said) as caught:
        prepare(LlmSettings(model=model), tmp_path)
    assert model in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_config_is_refused(tmp_path):
    with pytest.raises(ModelMissingError, match=r"no config\.json"):
        prepare(LlmSettings(model=str(tmp_path)), tmp_path)


def test_a_broken_gguf_file_is_refused_and_leaves_nothing_behind(tmp_path):
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF but not really" * 100)
    with pytest.raises(ModelMissingError, match="cannot be read as GGUF"):
        prepare(LlmSettings(model=str(file)), tmp_path)
    assert not list((tmp_path / "converted").glob("*/config.json"))


def test_gguf_without_the_package_says_what_is_missing(tmp_path, monkeypatch):
    import sys

    file = tmp_path / "some.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelMissingError, match="needs the package 'gguf'"):
        prepare(LlmSettings(model=str(file)), tmp_path)


def test_a_broken_folder_is_refused(tmp_path, tiny_llm):
    (tmp_path / "config.json").write_text((tiny_llm / "config.json").read_text())
    with pytest.raises(ModelMissingError, match="cannot be loaded"):
        load_network(tmp_path, "float32", "cpu")
    with pytest.raises(ModelMissingError, match="tokenizer"):
        Chat(tmp_path)


def test_the_recipe_follows_model_and_settings(tmp_path, tiny_llm, plain_llm):
    base = Settings(home=tmp_path, llm={"model": str(tiny_llm)})
    recipe = recipe_of(base)
    assert recipe is not None and recipe == recipe_of(base)
    others = [
        Settings(home=tmp_path, llm={"model": str(plain_llm)}),
        Settings(home=tmp_path, llm={"model": str(tiny_llm), "max_new_tokens": 5}),
        Settings(home=tmp_path, llm={"model": str(tiny_llm), "dtype": "float32"}),
        Settings(home=tmp_path, llm={"model": str(tiny_llm), "revision": "v2"}),
    ]
    assert all(recipe_of(other) != recipe for other in others)
    assert recipe_of(Settings(intents={"source": "encoder"})) is None
    assert identity(tiny_llm) != identity(plain_llm)


def test_the_local_llm_answers_every_prefix_and_hands_it_over(tmp_path, tiny_llm):
    llm = LocalLlm(
        Settings(home=tmp_path, llm={"model": str(tiny_llm), "dtype": "float32", "max_new_tokens": 6})
    )
    handed = {}
    answers = llm.answer([["alien"], ["heat", "jaws"], ["千と千尋の神隠し"] * 30], handed.__setitem__)
    assert [handed[place] for place in range(3)] == answers
    assert all(answer.input_tokens > 0 and 0 < answer.output_tokens <= 12 for answer in answers)


def test_the_local_llm_answers_a_neutral_prompt_once_for_both_views(tmp_path, tiny_llm):
    def answers(version):
        chosen = {"model": str(tiny_llm), "dtype": "float32", "max_new_tokens": 6}
        return LocalLlm(Settings(home=tmp_path, llm=chosen, intents={"prompt_version": version})).answer(
            [["alien"], ["heat", "jaws"], ["fargo"]]
        )

    neutral, two = answers("v1-neutral"), answers("v1")
    assert len(neutral) == 3 and all(answer.long_text == answer.short_text for answer in neutral)
    assert all(
        0 < one.input_tokens < other.input_tokens and 0 < one.output_tokens <= 6
        for one, other in zip(neutral, two, strict=True)
    )
    assert len({answer.long_text for answer in neutral}) > 1  # each prefix has its own


def test_a_model_without_chat_template_answers_too(tmp_path, plain_llm):
    llm = LocalLlm(Settings(home=tmp_path, llm={"model": str(plain_llm), "max_new_tokens": 4}))
    assert len(llm.answer([["alien", "heat"]])) == 1


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Jaws", "Jaws"),
        ("\n\n Jaws \nbecause", "Jaws"),
        ("3. Jaws.", "Jaws"),
        ("“Jaws”", "Jaws"),
        ("**Jaws**", "Jaws"),
        ("", ""),
        ("千と千尋", "千と千尋"),
        ("x" * 9_000, "x" * 500),
    ],
)
def test_answers_are_reduced_to_a_name(raw, clean):
    assert clean_answer(raw) == clean


def test_the_bound_of_an_answer_follows_the_titles_that_prompts_show(tmp_path, tiny_llm):
    chosen = Settings(
        home=tmp_path, llm={"model": str(tiny_llm), "max_new_tokens": 4}, intents={"max_title_tokens": 12}
    )
    assert (
        token_bound(chosen) == 4
        and token_bound(chosen, KnownTitles(["alien", "the heat of casablanca and a dune in fargo" * 3]))
        == 14
    )


def test_a_local_answer_that_names_nothing_is_a_failure_and_never_kept(tmp_path, tiny_llm, monkeypatch):
    llm = LocalLlm(
        Settings(home=tmp_path, llm={"model": str(tiny_llm), "max_new_tokens": 4}), KnownTitles(["alien"])
    )
    said = iter(["<think>Okay", "Jaws", "1. alien", "Jaws", "", "Jaws"])
    monkeypatch.setattr(llm.chat, "raw", lambda ids: next(said))
    kept = {}
    failures = llm.ask([["alien"], ["heat"], ["fargo"]], kept.__setitem__)
    assert [(answer.long_text, answer.long_kind) for answer in kept.values()] == [("alien", "listed")]
    kinds = {f"the model's answer is no name but {kind}" for kind in ("reasoning without end", "cut")}
    assert set(failure_kinds(reason for _, reason in failures)) == kinds
    assert all("llm.max_new_tokens" in reason for _, reason in failures)
