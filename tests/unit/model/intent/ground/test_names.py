"""Names of intents: by lift over the catalogue, never a clicked title, with items outside the session."""

from __future__ import annotations

import re
from itertools import chain

import numpy as np
import pytest

from model.intent.ground.encoder import EncoderSource
from model.intent.ground.live import LiveIntents
from model.intent.ground.localiser import Localiser
from model.intent.ground.names import Namer, repeats_title
from model.intent.types import SessionIntent, ViewIntent

FAMILIES = ("Children's, Animation", "Crime|Thriller", "Sci-Fi; Action", "Drama", "", "Film-Noir > Mystery")
WORDS = ("Star", "Toy", "Night", "The", "Return", "Of", "Alien", "Heat", "City", "千と", "Love", "King", "II")


def shop(items=300, seed=0, titles=None):
    """A catalogue whose families lie near one another; titles of one to four words, some of them equal."""
    chooser = np.random.default_rng(seed)
    family = np.arange(items) % len(FAMILIES)
    centres = chooser.normal(size=(len(FAMILIES), 16))
    vectors = (centres[family] + 0.6 * chooser.normal(size=(items, 16))).astype(np.float32)
    made = [
        f"{' '.join(chooser.choice(WORDS, chooser.integers(1, 5)))} ({chooser.integers(1920, 2020)})"
        for _ in range(items)
    ]
    ids = [f"i{row}" for row in range(items)]
    return Localiser(ids, titles or made, vectors, categories=[FAMILIES[number] for number in family])


def sessions(place, count, seed=1):
    """Random sessions of every length; half of them stay in one family, whose neighbours they use up."""
    chooser = np.random.default_rng(seed)
    lengths = chooser.integers(1, 51, count)
    near = [chooser.integers(0, len(place), length) for length in lengths]
    step = len(FAMILIES)
    return [
        [place.item_ids[row - row % step + index % step if index % 2 else row] for row in rows]
        for index, rows in enumerate(near)
    ]


def plain(text):
    return [word for word in re.findall(r"\w+", text.casefold()) if not word.isdigit()]


@pytest.mark.parametrize("items", [12, 300])
def test_no_name_repeats_a_clicked_title_and_half_of_what_is_shown_is_new(items):
    place = shop(items)
    prefixes = [prefix[: items // 3] for prefix in sessions(place, 600)]
    intents = LiveIntents(place).infer(prefixes)
    named = 0
    for prefix, intent in zip(prefixes, intents, strict=True):
        clicked = {place.title(item) for item in prefix}
        for view in (intent.long, intent.short):
            assert not repeats_title(view.name, list(clicked))
            words = set(plain(view.name))
            assert not any(set(plain(title)) <= words for title in clicked if plain(title))
            assert view.name.casefold() not in {title.casefold() for title in clicked}
            outside = [item for item in view.shown if item not in prefix]
            assert 2 * len(outside) >= len(view.shown) > 0 and len(set(view.shown)) == len(view.shown) <= 5
            named += bool(view.name)
    assert named > 0.9 * 2 * len(intents)


def test_what_was_there_before_stays():
    place = shop()
    prefixes = sessions(place, 50)
    old, new = EncoderSource(place).infer(prefixes), LiveIntents(place).infer(prefixes)
    for before, after in zip(old, new, strict=True):
        assert (before.long.text, before.long.items) == (after.long.text, after.long.items)
        near = np.argsort(-(place.vectors @ after.short.vector), kind="stable")[:5]
        assert after.short.items == tuple(place.item_ids[row] for row in near)


def oracle_weight(term, holds, shown, everything):
    share = sum(term in holds(item) for item in shown) / len(shown)
    return share * np.log(share / (sum(term in holds(item) for item in everything) / len(everything)))


def test_terms_are_those_of_greatest_lift_counted_by_hand():
    place = shop()

    def holds(item):
        kinds = {one.strip().casefold() for one in re.split(r"[|,;>]", place.categories[place.rows[item]])}
        words = {word for word in plain(place.title(item)) if len(word) > 2 or not word.isascii()}
        return (kinds | words) - {"the", ""}

    found = 0
    for intent in LiveIntents(place).infer(sessions(place, 80, seed=5)):
        view = intent.short
        common = [
            term
            for term in set(chain.from_iterable(map(holds, view.shown)))
            if sum(term in holds(item) for item in view.shown) >= 2
        ]
        weights = {term: oracle_weight(term, holds, view.shown, place.item_ids) for term in common}
        terms = view.name.split(", ")
        if not set(terms) <= weights.keys():
            continue  # nothing in common that holds no clicked title
        assert all(weights[term] >= 0.35 * max(weights.values()) - 1e-9 for term in terms[1:])
        assert [weights[term] for term in terms] == sorted((weights[term] for term in terms), reverse=True)
        found += weights[terms[0]] == pytest.approx(max(weights.values()))
    assert found > 40  # the others hold a clicked title


def test_a_readable_name_of_a_session_with_toy_story():
    titles = ["Toy Story (1995)", "Aladdin (1992)", "Lion King, The (1994)", "Dumbo (1941)", "Bambi (1942)"]
    kinds = ["Animation, Children's, Comedy"] * 5
    titles += [f"Murder {number}" for number in range(45)]
    kinds += ["Crime, Comedy"] * 45
    vectors = np.vstack([np.eye(8)[:1] + 0.05 * np.eye(8)[1:6], np.tile(np.eye(8)[7:], (45, 1))])
    place = Localiser([str(row) for row in range(50)], titles, vectors.astype(np.float32), categories=kinds)
    view = LiveIntents(place).infer([["0"]])[0].long
    assert (view.text, view.name) == ("Toy Story (1995)", "animation, children's")
    assert view.shown[0] == "0" and set(view.shown) == {"0", "1", "2", "3", "4"}


@pytest.mark.parametrize(
    ("titles", "kinds", "name"),
    [
        (["Heat", "Heat", "Heat", "Heat"], None, ""),  # nothing but the clicked title can be said
        (["Drama", "Lamp", "Chair", "Table"], ["Drama"] * 4, "lamp"),  # a category that is a clicked title
        (["!!!", "???", "...", "--"], None, ""),
        (["1984", "1985", "1986", "1987"], None, ""),
        (["Heat", "Heat Wave", "Heat Wave Two", "Cold"], ["Crime"] * 4, "cold"),  # what all are, no name says
        (["Heat", "Heat Wave", "Heat", "Cold"], None, "wave"),  # nothing in common: the rarest word
    ],
)
def test_odd_catalogues(titles, kinds, name):
    vectors = np.array([[1, 0], [0.9, 0.1], [0.8, 0.2], [0, 1]], np.float32)
    place = Localiser(list("abcd"), titles, vectors, "raw", categories=kinds)
    assert LiveIntents(place).infer([["a"]])[0].short.name == name


def test_all_items_clicked_shows_none_and_unknown_ones_stay_unnamed():
    place = shop(6)
    whole, unknown = LiveIntents(place).infer([place.item_ids, ["nowhere"]])
    assert (whole.long.shown, whole.long.name) == ((), "")
    assert (unknown.source, unknown.long.name, unknown.long.shown) == ("none", "", ())


def test_a_cached_answer_is_named_by_the_session_it_serves():
    place = shop()
    view = ViewIntent("films about space", ("i1", "i2", "i3"), (0.9, 0.8, 0.7), place.vectors[1])
    intent = SessionIntent(view, view, "llm", "k")
    one, other = Namer(place).named([intent, intent], [["i1", "i2"], ["i3"]])
    assert (one.long.text, one.long.items, one.cache_key) == (view.text, view.items, "k")
    assert len(one.long.shown) == len(other.long.shown) == 5
    assert SessionIntent.from_row(one.to_row(), np.asarray).long.shown == one.long.shown
    older = {name: value for name, value in one.to_row().items() if not name.endswith(("_name", "_shown"))}
    assert SessionIntent.from_row(older, np.asarray).long.name == ""


def test_a_saved_localiser_names_alike(tmp_path):
    place = shop()
    place.save(tmp_path)
    prefixes = sessions(place, 40)
    for one, other in zip(
        LiveIntents(place).infer(prefixes), LiveIntents(Localiser.load(tmp_path)).infer(prefixes), strict=True
    ):
        assert (one.long.name, one.long.shown, one.short.name) == (
            other.long.name,
            other.long.shown,
            other.short.name,
        )
