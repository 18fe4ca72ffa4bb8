"""New items beside a model folder: ranked from their titles at once, and never at the cost of the model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import synthetic

from model.__main__ import main
from model.config import BACKBONES, make_config
from model.data.catalogue import Catalogue
from model.data.lake import joined
from model.recommender import artifact, new_items
from model.recommender.new_items import NewItems, NewItemsError
from model.recommender.recommender import Scorer, ScoreRequest
from model.recommender.train import train

ENCODER = "toy-encoder"


def fresh(*names: str, dim: int = synthetic.TEXT_DIM, title: str = "thing 5 and a half") -> Catalogue:
    """Items with the title vector of item 5."""
    near = synthetic.vectors()[5] if dim == synthetic.TEXT_DIM else np.ones(dim, np.float32)
    return Catalogue(
        list(names), [title] * len(names), ["things"] * len(names), np.stack([near] * len(names))
    )


def saved(models: Path, text: bool = True, **values: object) -> Path:
    config = make_config({"dim": 16, "epochs": 1, "batch_size": 32, "max_length": 6, "text": text, **values})
    return artifact.save_version(train(synthetic.dataset(text=text), config), models, encoder=ENCODER)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models"))


@pytest.fixture
def folder(kept: Path) -> Path:
    new_items.file_of(kept).unlink(missing_ok=True)
    return kept


def answers(scorer: Scorer) -> tuple[str, ...]:
    return scorer.score([ScoreRequest(["i3", "i4"])], 10)[0].items


def test_a_new_item_is_ranked_by_the_saved_model_of_the_same_version(folder: Path) -> None:
    assert "fresh" not in answers(new_items.load(folder))
    assert new_items.write(folder.parent, NewItems(fresh("fresh"), ENCODER))
    grown = new_items.load(folder)
    assert "fresh" in answers(grown)
    assert grown.version == artifact.load(folder).version == folder.name
    artifact.promote(folder.parent, folder.name)
    # by the link as by the folder
    assert answers(new_items.load(folder.parent / artifact.PROMOTED)) == answers(grown)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_takes_new_items(backbone: str, tmp_path: Path) -> None:
    made = saved(tmp_path, backbone=backbone, fusion="paper")
    new_items.write(tmp_path, NewItems(fresh("a", "b"), ENCODER))
    grown = new_items.load(made)
    assert grown.item_ids[-2:] == ["a", "b"]
    assert len(grown.score([ScoreRequest(["i3", "a"])], 100)[0].items) == synthetic.ITEMS


def test_items_that_the_model_knows_are_not_added_twice(folder: Path) -> None:
    new_items.write(folder.parent, NewItems(fresh("i5", "fresh", "i7"), ENCODER))
    grown = new_items.load(folder)
    assert grown.item_ids == [*synthetic.catalogue().item_ids, "fresh"]
    assert grown.catalogue.titles[5] == "thing 5"


def test_the_same_items_are_not_written_again_and_none_take_the_file_away(folder: Path) -> None:
    models, none = folder.parent, NewItems(Catalogue.build([]), ENCODER)
    assert new_items.stamp(folder) == (0, 0)
    assert new_items.write(models, NewItems(fresh("fresh"), ENCODER))
    before = new_items.stamp(folder)
    assert not new_items.write(models, NewItems(fresh("fresh"), ENCODER))
    assert new_items.stamp(folder) == before
    assert new_items.write(models, NewItems(fresh("fresh", title="renamed"), ENCODER))
    assert new_items.stamp(folder) != before
    assert [new_items.write(models, none), new_items.write(models, none)] == [True, False]
    assert new_items.stamp(folder) == (0, 0)
    assert not list(models.glob(".*part"))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def altered(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 0x40
    file.write_bytes(bytes(content))


def other_format(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"format":"1"', b'"format":"7"'))


def other_encoder(file: Path) -> None:
    new_items.write(file.parent, NewItems(fresh("fresh"), "another"))


def other_length(file: Path) -> None:
    new_items.write(file.parent, NewItems(fresh("fresh", dim=5), ENCODER))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut, "cannot be read"),
        (altered, "altered"),
        (other_format, "format '7'"),
        (other_encoder, "of encoder 'another'"),
        (other_length, "reads 12"),
        (lambda file: file.write_bytes(b""), "cannot be read"),
    ],
)
def test_new_items_that_cannot_be_used_cost_one_line_and_not_the_model(
    damage: Callable[[Path], None], says: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new_items.write(folder.parent, NewItems(fresh("fresh"), ENCODER))
    damage(new_items.file_of(folder))
    with caplog.at_level(logging.INFO, "intentstore.model.new_items"):
        scorer = new_items.load(folder)
    assert answers(scorer) == answers(artifact.load(folder))
    assert len(caplog.records) == 1
    assert says in caplog.text and "new items are left out" in caplog.text
    # and the next writing mends it
    assert new_items.write(folder.parent, NewItems(fresh("fresh", "more"), ENCODER))
    assert "more" in new_items.load(folder).item_ids


def test_a_model_without_titles_says_that_it_cannot_rank_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = saved(tmp_path, text=False)
    new_items.write(tmp_path, NewItems(fresh("fresh"), ENCODER))
    assert "fresh" not in new_items.load(made).item_ids
    assert "reads no titles" in caplog.text


def test_items_without_title_or_vector_are_refused_where_they_would_be_written(tmp_path: Path) -> None:
    with pytest.raises(NewItemsError, match="'fresh' has no title"):
        new_items.write(tmp_path, NewItems(fresh("fresh", title=""), ENCODER))
    with pytest.raises(NewItemsError, match="no vectors"):
        new_items.write(tmp_path, NewItems(Catalogue.build(["a"], ["A"]), ENCODER))


def test_recommend_knows_new_items_at_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_items.write(folder.parent, NewItems(fresh("fresh"), ENCODER))
    assert main(["recommend", "--model", str(folder), "--session", "i3,i4"]) == 0
    assert "fresh  thing 5 and a half" in capsys.readouterr().out


def test_tables_give_the_items_that_have_both_title_and_vector() -> None:
    items = pa.table(
        {
            "item_id": ["b", "a", "bare", "late"],
            "title": ["B", "A", None, "L"],
            "category": ["x", None, "x", "x"],
        }
    )
    vectors = pa.table(
        {"item_id": ["a", "b", "bare", "gone"], "vector": [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]}
    )
    found = joined(items, vectors)
    assert (found.item_ids, found.titles, found.categories) == (["a", "b"], ["A", "B"], ["", "x"])
    assert found.vectors is not None and found.vectors.tolist() == [[1, 0], [0, 1]]
    assert len(joined(items, vectors.slice(0, 0))) == 0
