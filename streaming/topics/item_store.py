"""What this home knows of the items topic, in one small file, so that a restart need not trust the topic to
hold everything.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from feature_repo.contract.files import replace_file
from feature_repo.contract.items.fold import Placed
from feature_repo.contract.items.messages import ItemError, decode_item, encode_item
from feature_repo.contract.settings import Settings

log = logging.getLogger("intentstore.items")


class Stored(NamedTuple):
    """What the file holds: the next offset of each partition, and every record that counts."""

    positions: Mapping[int, int]
    records: list[Placed]


class _Record(msgspec.Struct, array_like=True):
    partition: int
    offset: int
    time_us: int
    item_id: str
    value: str | None


class _File(msgspec.Struct):
    topic_id: str
    positions: dict[int, int]
    records: list[_Record]


class ItemStore:
    """One file of a home; several processes may write it, each what it knows, whole or not at all.

    Parameters
    ----------
    settings : Settings
        Home, and name of the topic.

    Attributes
    ----------
    topic_id : str
        Kafka's own id of the topic that was opened; empty before.
    """

    def __init__(self, settings: Settings) -> None:
        self._file = settings.home / "catalogue" / f"{settings.kafka.items_topic}.topic.json"
        self.topic_id = ""

    def open(self, topic_id: str) -> Stored:
        """Read what is known of a topic; nothing where the file is of another one, missing or broken."""
        self.topic_id = topic_id
        try:
            content = msgspec.json.decode(self._file.read_bytes(), type=_File)
            if content.topic_id != topic_id:
                return Stored({}, [])
            return Stored(content.positions, [_placed(record) for record in content.records])
        except FileNotFoundError:
            return Stored({}, [])
        except (OSError, ValueError, ItemError) as error:
            log.warning("%s cannot be read (%s); the topic is read from its beginning", self._file, error)
            return Stored({}, [])

    def write(self, positions: Mapping[int, int], records: Iterable[Placed]) -> None:
        """Replace the file; a full disk is said and costs nothing but a longer start."""
        rows = [
            _Record(one.partition, one.offset, one.time_us, one.update.item_id, _text(one)) for one in records
        ]
        try:
            replace_file(self._file, msgspec.json.encode(_File(self.topic_id, dict(positions), rows)))
        except OSError as error:
            log.warning("%s cannot be written (%s); free the disk", self._file, error)


def _text(placed: Placed) -> str | None:
    value = encode_item(placed.update)
    return None if value is None else value.decode()


def _placed(record: _Record) -> Placed:
    value = None if record.value is None else record.value.encode()
    update = decode_item(value, record.item_id.encode())
    return Placed(record.partition, record.offset, record.time_us, update)
