"""On which partition a click belongs, by which partitioner, and the rule that refuses others. Knows no Kafka
client.
"""

from __future__ import annotations

import functools
import json
import logging
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from feature_repo.contract.files import only_one, replace_file
from feature_repo.contract.messages import ClickError
from feature_repo.contract.settings import KafkaSettings

log = logging.getLogger("intentstore.key_partitions")
WRONG_PARTITION: Final = "wrong_partition"
PARTITIONERS: Final = ("murmur2", "crc32", "fnv1a")
_MASK = 0xFFFFFFFF
_MURMUR_SEED, _MURMUR_M = 0x9747B28C, 0x5BD1E995
_FNV_BASIS, _FNV_PRIME = 0x811C9DC5, 0x01000193


def murmur2(key: bytes) -> int:
    """Hash a key as the Java client does, kafka-python with it.

    Parameters
    ----------
    key : bytes
        Not empty for clicks, but may be.

    Returns
    -------
    int
        32 bits, not signed.

    References
    ----------
    Appleby, MurmurHash2 (2008), with the seed of Kafka's ``DefaultPartitioner``.

    Examples
    --------
    >>> murmur2(b"foobar") - 2**32
    -790332482
    """
    whole = len(key) // 4
    hashed = _MURMUR_SEED ^ len(key)
    for word in struct.unpack_from(f"<{whole}I", key):
        mixed = word * _MURMUR_M & _MASK
        hashed = (hashed * _MURMUR_M & _MASK) ^ ((mixed ^ mixed >> 24) * _MURMUR_M & _MASK)
    if rest := key[4 * whole :]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * _MURMUR_M & _MASK
    hashed = (hashed ^ hashed >> 13) * _MURMUR_M & _MASK
    return hashed ^ hashed >> 15


def fnv1a(key: bytes) -> int:
    """Hash a key as Sarama and kafka-go do; 32 bits, not signed.

    References
    ----------
    Fowler, Noll and Vo, FNV-1a with 32 bits.

    Examples
    --------
    >>> hex(fnv1a(b"foobar"))
    '0xbf9cf968'
    """
    hashed = _FNV_BASIS
    for byte in key:
        hashed = (hashed ^ byte) * _FNV_PRIME & _MASK
    return hashed


@functools.lru_cache(maxsize=8_192)  # a session clicks again and again; with ids of 1,024 characters 9 MB
def key_hash(partitioner: str, key: bytes) -> int:
    """Give the number whose remainder by the count of partitions is the partition of a key.

    Parameters
    ----------
    partitioner : str
        One of ``PARTITIONERS``, see ``kafka.partitioner``.
    key : bytes
        Of the record.
    """
    if partitioner == "crc32":
        return zlib.crc32(key)
    if partitioner == "fnv1a":
        signed = fnv1a(key)
        return min(signed, 2**32 - signed)  # the size of the number read as a signed one
    return murmur2(key) & 0x7FFFFFFF


def partition_of(partitioner: str, key: bytes, count: int) -> int:
    """Give the partition that a partitioner names for a key.

    Parameters
    ----------
    partitioner : str
        See ``key_hash``.
    key : bytes
        Of the record.
    count : int
        Partitions of the topic.

    Examples
    --------
    >>> [partition_of(name, b"cookie-42", 4) for name in PARTITIONERS]
    [1, 0, 0]
    """
    return key_hash(partitioner, key) % count


def partitioner_of(kafka: KafkaSettings) -> str:
    """Give the partitioner of the clicks topic: murmur2, unless the settings adopt another one."""
    return "murmur2" if kafka.partition_check == "strict" else kafka.partitioner


def checked_partitioner(kafka: KafkaSettings) -> str | None:
    """Give the partitioner by which clicks are checked; None = not at all."""
    return None if kafka.partition_check == "off" else partitioner_of(kafka)


@dataclass(frozen=True)
class Width:
    """How many partitions the topic had, and from which offset of each on no older number counts; not named =
    0.
    """

    count: int
    since: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class KeyRule:
    """Refuses clicks that came on another partition than their key's.

    Attributes
    ----------
    partitioner : str or None
        None = nothing is checked.
    widths : tuple of Width
        Oldest first; the last one is the present.
    """

    partitioner: str | None
    widths: tuple[Width, ...]

    @property
    def count(self) -> int:
        """Partitions at present."""
        return self.widths[-1].count

    def check(self, key: bytes, partition: int, offset: int) -> None:
        """Refuse a click on a wrong partition.

        One written before the topic grew may stand where the older number of partitions put it.

        Parameters
        ----------
        key : bytes
            Of the record.
        partition, offset : int
            Where it stands.

        Raises
        ------
        ClickError
            ``wrong_partition``.

        Examples
        --------
        >>> rule = KeyRule("murmur2", (Width(4), Width(6, {1: 10})))
        >>> rule.check(b"cookie-7", 1, 9)
        >>> rule.check(b"cookie-7", 1, 10)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        feature_repo.contract.messages.ClickError: the key belongs on partition 5 by murmur2 of 6 partitions,
        ...
        """
        if self.partitioner is None:
            return
        for width in reversed(self.widths):
            if partition_of(self.partitioner, key, width.count) == partition:
                return
            if offset >= width.since.get(partition, 0):
                break
        belongs = partition_of(self.partitioner, key, self.count)
        rule = f"partition {belongs} by {self.partitioner} of {self.count} partitions"
        text = f"the key belongs on {rule}, but came on {partition}"
        raise ClickError(WRONG_PARTITION, f"{text}; let every producer use {self.partitioner}")


@dataclass(frozen=True)
class _Note:
    """What is kept of a clicks topic; no id in what an older version wrote."""

    topic_id: str | None
    widths: tuple[Width, ...]


def key_rule(kafka: KafkaSettings, home: Path, topic_id: str, count: int, ends: Mapping[int, int]) -> KeyRule:
    """Make the rule for the clicks topic as it is now, and note it for whoever judges the same records later.

    Parameters
    ----------
    kafka : KafkaSettings
        Topic, ``partition_check`` and ``partitioner``.
    home : Path
        ``home/topics`` keeps the numbers, so that a replay and the batch side refuse the same clicks.
    topic_id : str
        Kafka's own id of the topic: one that was made anew has the name of the one before, and no past.
    count : int
        Partitions at present.
    ends : mapping of int to int
        End offsets, read after ``count``.

    Returns
    -------
    KeyRule
        With every number of partitions that was seen; a topic that shrank or lost its end has none but the
        present.
    """
    if kafka.partition_check == "off":
        return KeyRule(None, (Width(count),))
    file = _file(kafka, home)
    with only_one(file.with_suffix(".lock")):
        noted = _read(file)
        known = noted.widths if noted.topic_id in (topic_id, None) else ()
        lost = any(
            since > ends.get(partition, 0) for width in known for partition, since in width.since.items()
        )
        if not known or lost or known[-1].count > count:
            widths: tuple[Width, ...] = (Width(count),)
        elif known[-1].count < count:
            older = range(known[-1].count)
            widths = (*known, Width(count, {number: ends[number] for number in older if number in ends}))
        else:
            widths = known
        if (note := _Note(topic_id, widths)) != noted:
            _write(file, note)
    return KeyRule(partitioner_of(kafka), widths)


def note_move(kafka: KafkaSettings, home: Path, topic_id: str, count: int, since: Mapping[int, int]) -> None:
    """Note from where on a new number of partitions counts, when states were moved to it; for whoever judges
    the same records later.

    Parameters
    ----------
    kafka : KafkaSettings
        Topic and ``partition_check``.
    home, topic_id
        See ``key_rule``.
    count : int
        Partitions by which the states have their places now.
    since : mapping of int to int
        First offset of each partition that was not read by the older number.
    """
    if kafka.partition_check == "off":
        return
    file = _file(kafka, home)
    with only_one(file.with_suffix(".lock")):
        noted = _read(file)
        known = noted.widths if noted.topic_id in (topic_id, None) else ()
        older = tuple(width for width in known if width.count < count)
        _write(file, _Note(topic_id, (*older, Width(count, dict(since) if older else {}))))


def _file(kafka: KafkaSettings, home: Path) -> Path:
    return home / "topics" / f"{kafka.clicks_topic}.json"


def _read(file: Path) -> _Note:
    if not file.is_file():
        return _Note(None, ())
    try:
        noted = json.loads(file.read_bytes())
        topic_id, rows = (None, noted) if isinstance(noted, list) else (noted["topic_id"], noted["widths"])
        return _Note(topic_id, tuple(_width(row) for row in rows))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning(
            (
                "'%s' is damaged (%s: %s) and is written anew; how the topic grew before now is not known "
                "any more"
            ),
            file,
            type(error).__name__,
            error,
        )
        return _Note(None, ())


def _width(row: dict[str, Any]) -> Width:
    return Width(row["count"], {int(partition): since for partition, since in row["since"].items()})


def _write(file: Path, note: _Note) -> None:
    widths = [{"count": width.count, "since": width.since} for width in note.widths]
    replace_file(file, json.dumps({"topic_id": note.topic_id, "widths": widths}))
