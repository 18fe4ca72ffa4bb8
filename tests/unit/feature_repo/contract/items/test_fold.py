"""What all records say together, against an oracle that sorts them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contract.items.fold import ItemFold, Placed
from feature_repo.contract.items.messages import ItemUpdate

records = st.lists(
    st.builds(
        Placed,
        partition=st.integers(0, 2),
        offset=st.integers(0, 30),
        time_us=st.integers(0, 5),
        update=st.builds(
            ItemUpdate,
            item_id=st.sampled_from("abc"),
            title=st.sampled_from([None, "x", "y"]),
            available=st.booleans(),
        ),
    ),
    max_size=25,
    unique_by=lambda one: (one.partition, one.offset),
)


def truth(said):
    """Of each partition the latest offset of an item, of these the latest time."""
    latest = {}
    for one in sorted(said, key=lambda one: one.offset):
        latest[one.partition, one.update.item_id] = one
    result = {}
    for one in sorted(latest.values(), key=lambda one: (one.time_us, one.partition)):
        result[one.update.item_id] = one.update
    return result


@given(records, st.randoms(use_true_random=False))
def test_the_latest_offset_wins_in_whatever_order_records_are_read(said, random):
    read = list(said)
    random.shuffle(read)
    fold = ItemFold()
    for one in read:
        before, texts = fold.now(), fold.now().texts
        changed = fold.apply(one)
        assert changed == (fold.now() is not before)
        old, new = before.items.get(one.update.item_id), fold.now().items.get(one.update.item_id)
        if (old and old.text) != (new and new.text) and ((old and old.title) or (new and new.title)):
            assert fold.now().texts != texts
    assert fold.now().items == truth(said)


@given(records, st.integers(0, 2))
def test_what_is_stored_comes_back_and_a_partition_can_be_forgotten(said, gone):
    fold, again = ItemFold(), ItemFold()
    fold.restore(said)
    again.restore(fold.placed())
    assert again.now().items == fold.now().items
    again.forget(gone)
    assert again.now().items == truth([one for one in said if one.partition != gone])


def test_records_that_say_the_same_change_nothing():
    fold = ItemFold()
    fold.apply(Placed(0, 1, 1, ItemUpdate("a", "x")))
    before = fold.now()
    assert not fold.apply(Placed(0, 2, 2, ItemUpdate("a", "x")))
    assert fold.now() is before
