"""Score-log rows in stores of this disk whose partition another consumer holds: a process that was killed
left them, and nobody else can write them. Answers nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from feature_repo.contract.settings import Settings
from streaming.consumer import recovery
from streaming.consumer.score_log import ScoreLog
from streaming.consumer.state import PartitionStore
from streaming.errors import StreamingError

log = logging.getLogger("intentstore.score_log")


class Stranded:
    """The stores below this consumer's state folder as they were at its start, each looked at once.

    Parameters
    ----------
    settings : Settings
        Topic, group, state folder, broker.
    score_log : ScoreLog
        Writes the files.
    """

    def __init__(self, settings: Settings, score_log: ScoreLog) -> None:
        self._settings, self._score_log = settings, score_log
        topic, folder = settings.kafka.clicks_topic, settings.state_dir / settings.streaming.group
        numbers = {path: path.name.removeprefix(f"{topic}-") for path in folder.glob(f"{topic}-*")}
        self._left = {int(number): path for path, number in numbers.items() if number.isdecimal()}

    def turn(self, held: Collection[int]) -> int:
        """Look at one store, if there is one left; those of held partitions are in use and need it not.

        Returns
        -------
        int
            Rows written to a file.
        """
        for partition in held:
            self._left.pop(partition, None)
        if not self._left:
            return 0
        partition, folder = self._left.popitem()
        try:
            return self._write(partition, folder)
        except StreamingError as error:  # another process works with it, and takes care of its rows
            log.debug("%s", error)
            return 0

    def _write(self, partition: int, folder: Path) -> int:
        if not folder.is_dir():
            return 0
        store = PartitionStore(folder, lock_seconds=0.0)
        try:
            unsure = self._unsure(partition, store)
            written = self._score_log.hand_over(partition, store, unsure)
        finally:
            store.close()
        if written:
            log.info("wrote %d score-log rows of %s, which another consumer holds now", written, folder.name)
        return written

    def _unsure(self, partition: int, store: PartitionStore) -> set[int]:
        """Give the offsets of the last batch whose answer is not on the topic yet, after forgetting the rows
        of those that another consumer answered in our place.
        """
        from kafka.errors import KafkaError

        rows = {offset for offset, _ in store.rows()}
        mine = {offset: value for offset, _, value in store.outbox().answers if offset in rows}
        if not mine:
            return set()
        if store.marks is None:  # of an older version, whose log nobody can tell
            return set(mine)
        group, logged = self._settings.streaming.group, store.marks.layout.log
        try:
            through = recovery.sent_through(self._settings, {partition: logged}, group)[partition].answers
            others = recovery.answered_otherwise(self._settings, partition, logged, group, mine, through)
        except KafkaError as error:
            log.warning("the answers of partition %d cannot be read (%s); rows stay", partition, error)
            return set(mine)
        store.drop_rows_at(others)
        return {offset for offset in mine if offset > through}
