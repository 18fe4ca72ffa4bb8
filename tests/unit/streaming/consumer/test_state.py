from pathlib import Path

import pytest

from feature_repo.contract import session
from feature_repo.contract.session import FoldClick, FoldConfig, SessionState
from streaming.consumer import state as module
from streaming.consumer.records import Letter, Marks, Outbox
from streaming.consumer.state import PartitionStore
from streaming.errors import StreamingError
from streaming.topics.layout import Layout


def _state(event: str, time: int = 5) -> SessionState:
    return session.apply(session.empty(), FoldClick(event, "item", time, time), FoldConfig())


def test_batch_is_there_after_reopening(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path / "p")
    outbox = Outbox([(6, b"k", b"v")], [Letter(5, None, None, [("reason", b"null_value")])], ["s"])
    store.write(7, {"s": _state("e")}, outbox, [(6, b"row")])
    store.close()
    again = PartitionStore(tmp_path / "p")
    assert (again.next_offset, again.outbox(), list(again.rows())) == (7, outbox, [(6, b"row")])
    assert again.states(["s", "unknown"]) == {"s": _state("e"), "unknown": session.empty()}
    assert dict(again.sessions()) == {"s": _state("e")}


def test_new_store_has_no_offset_and_an_empty_outbox(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path / "p")
    assert store.next_offset is None
    assert store.outbox() == Outbox()
    assert store.logged_through() == -1


def test_rows_are_dropped_up_to_an_offset_and_not_beyond(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path / "p")
    store.write(300, {}, Outbox(), [(offset, b"r") for offset in (1, 255, 256, 257)])
    store.drop_rows(256)
    assert [offset for offset, _ in store.rows()] == [257]
    assert store.logged_through() == 256


def test_cache_is_bounded_and_forgets_nothing(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path / "p", cached=10)
    for number in range(50):
        store.write(number + 1, {f"s{number}": _state(f"e{number}")}, Outbox(), [])
    assert len(store._cache) <= 10
    assert store.states(["s0"])["s0"] == _state("e0")


def test_sweep_forgets_only_old_sessions_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path / "p")
    store.write(
        1, {f"s{number}": _state("e", time=100 if number % 2 else 10) for number in range(10)}, Outbox(), []
    )
    assert sum(store.sweep(50, at_most=3) for _ in range(4)) == 5
    assert {name for name, _ in store.sessions()} == {f"s{number}" for number in range(1, 10, 2)}
    assert store.states(["s0"])["s0"] == session.empty()


def test_store_of_a_living_owner_is_refused_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_WAIT_SECONDS", 0.0)
    owner = PartitionStore(tmp_path / "p")
    with pytest.raises(StreamingError, match=r"held by another process.*--state-dir"):
        PartitionStore(tmp_path / "p")
    owner.close()
    PartitionStore(tmp_path / "p").close()


def test_damaged_store_is_refused_with_a_remedy(tmp_path: Path) -> None:
    PartitionStore(tmp_path / "p").close()
    (tmp_path / "p" / "CURRENT").write_text("nonsense\n")
    with pytest.raises(StreamingError, match="delete that folder to rebuild it from the topic"):
        PartitionStore(tmp_path / "p")


def test_what_is_being_restored_is_stored_before_the_first_click(tmp_path: Path) -> None:
    store, marks = PartitionStore(tmp_path / "p"), Marks(Layout("0a", 4), 54, 52)
    store.begin(0, marks)
    store.close()
    again = PartitionStore(tmp_path / "p")
    assert (again.next_offset, again.marks) == (0, marks)
    again.write(7, {}, Outbox([(6, b"k", b"v")], [], []), [])
    again.begin(3, marks, forget_outbox=True)
    assert (again.next_offset, again.outbox()) == (3, Outbox([], [], []))


def test_cleared_store_is_as_new(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path / "p")
    store.begin(0, Marks(Layout("0a", 4), 0, 0))
    store.write(7, {"s": _state("e")}, Outbox([(6, b"k", b"v")], [], []), [(6, b"row")])
    store.clear()
    assert (store.next_offset, store.marks, store.outbox(), list(store.rows()), dict(store.sessions())) == (
        None,
        None,
        Outbox(),
        [],
        {},
    )
    assert store.states(["s"])["s"] == session.empty()
