from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from feature_repo.contract import session
from feature_repo.contract.messages import RecommendedItem
from feature_repo.contract.session import FoldClick, FoldConfig
from feature_repo.contract.tables import SCORE_LOG_SCHEMA
from streaming.consumer import score_log
from streaming.consumer.records import Outbox
from streaming.consumer.score_log import ScoreLog
from streaming.consumer.state import PartitionStore
from streaming.errors import StreamingError
from streaming.serving.answers import NO_INTENTS, Answer


def _row(offset: int) -> tuple[int, score_log.Row]:
    state = session.apply(session.empty(), FoldClick("e", "i", 7, 9), FoldConfig())
    answer = Answer([RecommendedItem("x", 0.5)], NO_INTENTS, "v1")
    return offset, score_log.row_of(
        ("clicks", 3, offset), (f"e{offset}", "s", "i"), state, session.features(state), answer, (7, 11)
    )


def _packed(rows: list[tuple[int, score_log.Row]]) -> list[tuple[int, bytes]]:
    return [(offset, score_log.pack(row)) for offset, row in rows]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PartitionStore]:
    opened = PartitionStore(tmp_path / "p")
    yield opened
    opened.close()


def _read(folder: Path) -> list[int]:
    offsets: list[int] = []
    for file in sorted(folder.glob("*.arrow")):
        with pa.OSFile(str(file)) as source:
            table = pa.ipc.open_file(source).read_all()
        assert table.schema.equals(SCORE_LOG_SCHEMA)
        offsets += table["offset"].to_pylist()
    return offsets


def test_rows_go_to_files_named_by_offsets_and_leave_the_store(
    store: PartitionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_log, "_CONVERT_ROWS", 2)
    log = ScoreLog(tmp_path / "log", "clicks")
    log.adopt(3, store)
    for rows in ([_row(2), _row(4)], [_row(5)], [_row(8), _row(9)]):
        store.write(10, {}, Outbox(), _packed(rows))
        log.add(3, rows)
    assert log.roll(3, store) == 5
    assert (
        next(file.name for file in sorted((tmp_path / "log").iterdir()))
        == f"clicks-3-{2:020d}-{9:020d}.arrow"
    )
    assert _read(tmp_path / "log") == [2, 4, 5, 8, 9]
    assert list(store.rows()) == []


def test_crash_between_file_and_forgetting_doubles_nothing(
    store: PartitionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(9, {}, Outbox(), _packed([_row(1), _row(2)]))
    log = ScoreLog(tmp_path / "log", "clicks")
    log.adopt(3, store)
    with monkeypatch.context() as crash:
        crash.setattr(store, "drop_rows", lambda through: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            log.roll(3, store)
    store.write(10, {}, Outbox(), _packed([_row(3)]))
    log = ScoreLog(tmp_path / "log", "clicks")
    log.adopt(3, store)
    log.roll(3, store)
    assert _read(tmp_path / "log") == [1, 2, 3]


def test_full_disk_is_one_line_and_loses_nothing(store: PartitionStore, tmp_path: Path) -> None:
    store.write(9, {}, Outbox(), _packed([_row(1)]))
    log = ScoreLog(tmp_path / "log", "clicks")
    log.adopt(3, store)
    (tmp_path / "log").rmdir()
    with pytest.raises(StreamingError, match="cannot be written"):
        log.roll(3, store)
    assert len(list(store.rows())) == 1


def test_rows_that_another_consumer_did_not_write_are_kept_beside_its_files(tmp_path: Path) -> None:
    mine, other = PartitionStore(tmp_path / "a"), PartitionStore(tmp_path / "b")
    mine.write(4, {}, Outbox(), _packed([_row(2), _row(3)]))
    other.write(9, {}, Outbox(), _packed([_row(1), _row(8)]))
    for store in (other, mine):
        log = ScoreLog(tmp_path / "log", "clicks")
        log.adopt(3, store)
        log.roll(3, store)
        store.close()
    assert sorted(_read(tmp_path / "log")) == [1, 2, 3, 8]


def test_rows_of_a_partition_that_goes_are_written_but_for_those_whose_answer_may_not_be_out(
    store: PartitionStore, tmp_path: Path
) -> None:
    store.write(9, {}, Outbox(), _packed([_row(1), _row(2), _row(8)]))
    log = ScoreLog(tmp_path / "log", "clicks")
    assert log.hand_over(3, store, {8}) == 2
    assert [offset for offset, _ in store.rows()] == [8]
    assert log.hand_over(3, store) == 1
    assert log.hand_over(3, store) == 0
    assert sorted(_read(tmp_path / "log")) == [1, 2, 8]


def test_handing_over_again_after_a_crash_doubles_nothing(store: PartitionStore, tmp_path: Path) -> None:
    log, rows = ScoreLog(tmp_path / "log", "clicks"), [_row(1), _row(2)]
    store.write(9, {}, Outbox(), _packed(rows))
    log.hand_over(3, store)
    store.write(9, {}, Outbox(), _packed([*rows, _row(5)]))  # as if they had not been forgotten
    assert log.hand_over(3, store) == 1
    assert sorted(_read(tmp_path / "log")) == [1, 2, 5]


def test_a_topic_made_anew_writes_no_file_over_one_of_the_same_offsets(
    store: PartitionStore, tmp_path: Path
) -> None:
    log = ScoreLog(tmp_path / "log", "clicks")
    for event in ("before", "after"):
        offset, row = _row(1)
        place = score_log._EVENT_ID
        store.write(2, {}, Outbox(), _packed([(offset, (*row[:place], event, *row[place + 1 :]))]))
        log.adopt(3, store)
        assert log.roll(3, store) == 1
    names = sorted(file.name for file in (tmp_path / "log").iterdir())
    assert names == [f"clicks-3-{1:020d}-{1:020d}.2.arrow", f"clicks-3-{1:020d}-{1:020d}.arrow"]
    assert _read(tmp_path / "log") == [1, 1]
    assert log._written(3, 1, 1) == {(1, "before"), (1, "after")}
