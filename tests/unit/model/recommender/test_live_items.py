"""Items and titles of the topic in a loaded model: ranked from words alone, and never half of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import synthetic

from feature_repo.contract.items.fold import LiveItems
from feature_repo.contract.items.messages import ItemUpdate
from feature_repo.contract.settings import Settings
from model.config import make_config
from model.recommender import artifact, new_items
from model.recommender.live_items import grown
from model.recommender.loaded_model import load_model
from model.recommender.new_items import NewItems
from model.recommender.stock import Stocks
from model.recommender.train import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = make_config({"dim": 16, "epochs": 1, "batch_size": 32, "max_length": 6})
    return artifact.save_version(
        train(synthetic.dataset(), config), tmp_path_factory.mktemp("models"), encoder="toy-encoder"
    )


@pytest.fixture
def model(folder: Path, tmp_path: Path):
    new_items.file_of(folder).unlink(missing_ok=True)
    return load_model(Settings(home=tmp_path), folder)


def told(**titles: str) -> dict[str, ItemUpdate]:
    return {item: ItemUpdate(item, title, "things") for item, title in titles.items()}


def test_a_new_item_is_ranked_where_the_item_is_whose_words_it_shares(model) -> None:
    title = model.scorer.catalogue.titles[5]
    more = grown(model, told(fresh=f"{title} and a half"))
    shown = more.recommend([["i3", "i4"]], 12)[0].scored.items
    assert "fresh" in shown
    assert "fresh" not in model.recommend([["i3", "i4"]], 12)[0].scored.items
    place = more.scorer.catalogue.index["fresh"]
    near = more.scorer.catalogue.vectors @ more.scorer.catalogue.vectors[place]
    assert 5 in np.argsort(-near, kind="stable")[:3]
    assert more.version == model.version
    assert more.recommend([["fresh"]], 5)[0].intent.long.items


def test_a_model_with_new_items_beside_it_grows_further(folder: Path, tmp_path: Path) -> None:
    catalogue = artifact.load(folder).catalogue
    beside = type(catalogue)(["beside"], ["thing 5 too"], ["things"], catalogue.vectors[5:6])
    new_items.write(folder.parent, NewItems(beside, "toy-encoder"))
    base = load_model(Settings(home=tmp_path), folder)
    new_items.file_of(folder).unlink()
    more = grown(base, told(fresh="thing 5 and a half", beside="thing 7 again"))
    assert more.scorer.item_ids[-2:] == ["beside", "fresh"]
    assert more.scorer.catalogue.titles[-2:] == ["thing 7 again", "thing 5 and a half"]


def test_a_changed_title_grounds_intents_anew_and_stands_in_reasons(model) -> None:
    before = model.recommend([["i3"]], 5)[0].intent
    assert before.long.text == model.scorer.catalogue.titles[3]
    more = grown(model, told(i3=model.scorer.catalogue.titles[20]))
    after = more.recommend([["i3"]], 5)[0].intent
    assert after.long.text == model.scorer.catalogue.titles[20]
    assert not np.allclose(before.long.vector, after.long.vector)
    assert model.recommend([["i3"]], 5)[0].intent.long.text == before.long.text
    untouched = [place for place in range(len(model.scorer.item_ids)) if place != 3]
    assert np.array_equal(
        more.scorer.network.raw[untouched], model.scorer.network.raw[untouched]
    )  # what clicks taught about the others is as it was


def test_what_says_nothing_new_gives_the_very_same_model(model) -> None:
    same = model.scorer.catalogue.titles[3]
    gone = ItemUpdate("gone", available=False, withdrawn=True)
    only = {"i3": ItemUpdate("i3", same, available=False), "gone": gone, "bare": ItemUpdate("bare")}
    assert grown(model, only) is model


def test_a_title_unlike_all_others_costs_nothing(model) -> None:
    more = grown(model, told(odd="Zyzzyva quokka"))
    assert "odd" in more.scorer.catalogue.index
    assert len(more.recommend([["i3", "odd"]], 5)[0].scored.items) == 5


def test_a_withdrawn_item_still_counts_and_explains_and_comes_back(folder: Path, tmp_path: Path) -> None:
    live = [LiveItems()]
    model = load_model(
        Settings(home=tmp_path), folder, Stocks(tmp_path / "none", lambda: live[0], seconds=0.0)
    )
    shown = model.recommend([["i3", "i4"]], 5)[0].scored
    best = shown.items[0]
    live[0] = LiveItems({best: ItemUpdate(best, available=False)})
    without = model.recommend([["i3", "i4"]], 5)[0].scored
    assert best not in without.items and len(without.items) == 5
    assert without.items[:4] == shown.items[1:]
    clicked = model.recommend([["i3", best]], 5)[0]
    assert best in clicked.scored.because  # it is a click like any other
    live[0] = LiveItems({best: ItemUpdate(best)})
    assert model.recommend([["i3", "i4"]], 5)[0].scored == shown


def test_all_items_withdrawn_is_an_empty_answer(folder: Path, tmp_path: Path) -> None:
    everything = artifact.load(folder).item_ids
    live = LiveItems({item: ItemUpdate(item, available=False) for item in everything})
    model = load_model(Settings(home=tmp_path), folder, Stocks(tmp_path / "none", lambda: live))
    assert [one.scored.items for one in model.recommend([["i3"], []], 5)] == [(), ()]
