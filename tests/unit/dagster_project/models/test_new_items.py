"""From new rows of the catalogue tables to the file that consumer and HTTP side read."""

from __future__ import annotations

import json

import dagster as dg
import pytest

from dagster_project.defs.jobs import rollback
from dagster_project.defs.new_items import new_items_beside_the_model
from dagster_project.models import new_items, promotion
from dagster_project.resources import SettingsResource
from feature_repo.contract import tables as columns
from model.recommender import new_items as beside

ENCODER = "toy"


@pytest.fixture
def model(settings):
    """Make a model folder that knows some items; without weights, which nobody reads here."""

    def make(version, *known):
        folder = settings.models_dir / version
        folder.mkdir(parents=True)
        (folder / "items.json").write_text(
            json.dumps(
                {"item_ids": list(known), "titles": [""] * len(known), "categories": [""] * len(known)}
            )
        )
        (folder / "manifest.json").write_text(
            json.dumps({"format": 1, "version": version, "created": version, "encoder": ENCODER})
        )
        return folder

    return make


@pytest.fixture
def shop(write_table):
    """Add items to both catalogue tables."""

    def add(*names, encoder=ENCODER):
        write_table(
            columns.ITEMS,
            [{"item_id": name, "title": f"title of {name}", "category": "kind"} for name in names],
        )
        write_table(
            columns.ITEM_VECTORS,
            [{"item_id": name, "text": "t", "encoder": encoder, "vector": [1.0, 0.0]} for name in names],
        )

    return add


@pytest.fixture
def run(settings):
    def one():
        return dg.materialize(
            [new_items_beside_the_model],
            resources={"settings": SettingsResource(config="/dev/null", home=str(settings.home))},
        )

    return one


def served(settings):
    file = settings.models_dir / beside.FILE
    return beside.read(file).catalogue if file.exists() else None


def test_an_item_that_joins_the_tables_reaches_the_models_and_leaves_when_a_model_knows_it(
    settings, model, shop, run
):
    model("1", "a", "b")
    promotion.promote(settings, "1", "first")
    shop("a", "b")
    assert run().success and served(settings) is None
    shop("fresh")
    assert run().success
    found = served(settings)
    assert (found.item_ids, found.titles, found.categories) == (["fresh"], ["title of fresh"], ["kind"])
    model("2", "a", "b", "fresh")
    promotion.promote(settings, "2", "retrained")
    event = run().get_asset_materialization_events()[0].materialization
    assert event.metadata["changed"].value is True and event.metadata["dagster/row_count"].value == 0
    assert served(settings) is None


def test_an_unchanged_catalogue_leaves_the_file_alone(settings, model, shop):
    folder = model("1", "a")
    promotion.promote(settings, "1", "first")
    shop("a", "fresh")
    assert new_items.update(settings)["changed"]
    before = beside.stamp(folder)
    assert new_items.update(settings) == {"version": "1", "rows": 1, "changed": False, "left_out": 0}
    assert beside.stamp(folder) == before


def test_items_of_another_encoder_and_without_title_are_left_out_and_counted(
    settings, model, shop, write_table
):
    model("1", "a")
    promotion.promote(settings, "1", "first")
    shop("fresh")
    shop("foreign", encoder="another")
    write_table(columns.ITEMS, [{"item_id": "bare"}])
    write_table(
        columns.ITEM_VECTORS, [{"item_id": "bare", "text": "t", "encoder": ENCODER, "vector": [0.0, 1.0]}]
    )
    assert new_items.update(settings)["left_out"] == 1
    assert served(settings).item_ids == ["fresh"]


def test_without_model_or_titles_there_is_nothing_to_do(settings, model, run):
    assert run().success
    model("1", "a")
    promotion.promote(settings, "1", "first")
    assert run().success and served(settings) is None


def test_a_broken_model_folder_fails_the_step_and_keeps_the_file(settings, model, shop, run):
    folder = model("1", "a")
    promotion.promote(settings, "1", "first")
    shop("fresh")
    new_items.update(settings)
    (folder / "items.json").write_text("{")
    with pytest.raises(dg.Failure, match=r"items\.json cannot be read"):
        run()
    assert served(settings).item_ids == ["fresh"]


def test_rollback_gives_the_earlier_model_the_items_that_only_the_later_one_knew(settings, model, shop):
    model("1", "a")
    model("2", "a", "fresh")
    for version in ("1", "2"):
        promotion.promote(settings, version, "x")
    shop("a", "fresh")
    new_items.update(settings)
    assert served(settings) is None
    assert rollback.execute_in_process(
        resources={"settings": SettingsResource(config="/dev/null", home=str(settings.home))}
    ).success
    assert served(settings).item_ids == ["fresh"]
