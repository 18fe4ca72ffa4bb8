"""Lets a loaded model rank items that the topic brought since it was trained, and know changed titles: from
words alone, without an encoder, within a second. Knows no topic.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from feature_repo.contract.items.messages import ItemUpdate
from model.data.catalogue import Catalogue
from model.network.text_space import unit
from model.recommender.loaded_model import LoadedModel, Shelves
from model.recommender.recommender import ScoreRequest
from model.text.stand_ins import by_stand_ins, stand_ins


def grown(model: LoadedModel, items: Mapping[str, ItemUpdate]) -> LoadedModel:
    """Give a model that knows the titles of the topic.

    Parameters
    ----------
    model : LoadedModel
        As it came from its folder; it is not changed.
    items : mapping of str to ItemUpdate
        What the topic says. Items that the model does not know join where they have a title; known ones get
        the new title and category.

    Returns
    -------
    LoadedModel
        The very same where the topic says nothing new. Text vectors are the mean of those of the items whose
        titles share most words: the encoder's own come with the next `new_items`.

    Raises
    ------
    ValueError
        The grown model cannot answer.
    """
    scorer = model.scorer
    known = scorer.catalogue.index
    changed = [one for one in items.values() if one.item_id in known and _says_more(one, scorer.catalogue)]
    new = [one for one in items.values() if one.item_id not in known and one.title and not one.withdrawn]
    if not changed and not new:
        return model
    told = by_words(scorer.catalogue, changed, new)
    scorer = scorer.retitled(told).with_items(told)
    # what cannot answer is found here, not at a click
    scorer.score([ScoreRequest([scorer.item_ids[0], told.item_ids[-1]])], 1)
    intents = model.intents
    over = getattr(intents, "over", None)
    if over is not None:
        intents = over(told)
    stocks = None if model.shelves is None else model.shelves.stocks
    made = model._replace(
        scorer=scorer, intents=intents, shelves=None if stocks is None else Shelves(scorer, stocks)
    )
    made.recommend([[], [scorer.item_ids[0], told.item_ids[-1]]], 1)
    return made


def by_words(catalogue: Catalogue, changed: list[ItemUpdate], new: list[ItemUpdate]) -> Catalogue:
    """Give the changed and the new items with text vectors made of their words.

    Parameters
    ----------
    catalogue : Catalogue
        Whose items lend their vectors.
    changed, new : list of ItemUpdate
        Known ones and unknown ones; a title or category that is not said stays as it was.

    Returns
    -------
    Catalogue
        Rows of zeros where no title shares enough words; no vectors where the catalogue has none.
    """
    ids = [one.item_id for one in (*changed, *new)]
    at = [catalogue.index.get(item) for item in ids]
    titles = [
        one.title or ("" if place is None else catalogue.titles[place])
        for one, place in zip((*changed, *new), at, strict=True)
    ]
    categories = [
        one.category or ("" if place is None else catalogue.categories[place])
        for one, place in zip((*changed, *new), at, strict=True)
    ]
    told = Catalogue(ids, titles, categories)
    vectors = catalogue.vectors
    if vectors is None:
        return told
    # a changed item's old vector lends as well, by what its old title still shares with the new one
    lending = np.concatenate([vectors.any(axis=1), np.zeros(len(ids), dtype=bool)])
    count = len(catalogue)
    shares = stand_ins([*catalogue.texts, *told.texts], np.arange(count, count + len(ids)), lending)
    nothing = np.zeros((len(ids), vectors.shape[1]), dtype=np.float32)
    made = by_stand_ins(shares[count:, :count], unit(vectors), nothing)
    return Catalogue(ids, titles, categories, unit(made))


def _says_more(one: ItemUpdate, catalogue: Catalogue) -> bool:
    place = catalogue.index[one.item_id]
    return bool(
        (one.title and one.title != catalogue.titles[place])
        or (one.category and one.category != catalogue.categories[place])
    )
