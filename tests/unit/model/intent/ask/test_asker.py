import sys
import types

import pytest

from feature_repo.contract.settings import ASKED_SOURCES, AskedSource
from model.intent.ask import asker
from model.intent.ask.answers import Identity


class Parrot:
    """An intent source of a shop's own: says the last title."""

    name = "parrot"

    def __init__(self, settings, titles):
        self.settings = settings

    @staticmethod
    def identity(settings):
        return Identity("parrot 1", "repeats")

    def ask(self, prefixes, keep):
        return []


@pytest.fixture
def parrot(monkeypatch, settings):
    """Settings of a home whose intents the parrot gives: its module, and its word in the settings."""
    module = types.ModuleType("model.intent.ask.parrot")
    module.Parrot = Parrot
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(asker, "ASKED_SOURCES", (*ASKED_SOURCES, "parrot"))
    intents = settings.intents.model_copy(update={"source": "parrot"})
    return settings.model_copy(update={"intents": intents})


@pytest.mark.parametrize("source", ASKED_SOURCES)
def test_every_word_of_the_settings_has_its_module(source: AskedSource) -> None:
    found = asker.class_of(source)
    assert found.name == source and found.identity and found.ask


def test_a_module_of_its_name_is_enough_for_a_source(parrot) -> None:
    assert isinstance(asker.asker_of(parrot), Parrot)
    recipe = asker.recipe_of(parrot)
    assert recipe is not None
    assert (recipe.source, recipe.model, recipe.decoding) == ("parrot", "parrot 1", "repeats")
