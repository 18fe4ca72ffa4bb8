"""The `item-vectors` job: the text encoder's vector of every item that has a title; only new and changed
texts are encoded.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_repo.contract.settings import EncoderSettings
from feature_repo.contract.tables import ITEM_VECTORS, ITEM_VECTORS_SCHEMA, ITEMS
from model.data.catalogue import item_text
from model.text.encoder import EncoderError, TextEncoder, encoder_name
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.frames import spark_schema
from spark_jobs.lake.lake import Lake, MergeResult

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ITEMS_PER_WORKER = 4_000  # below that a second worker costs more to start than it saves
log = logging.getLogger("intentstore.intents")


def run(lake: Lake, *, date: datetime.date | None = None) -> JobResult:
    """Bring `item_vectors` up to date with `items`.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings ``encoder``.
    date : datetime.date, optional
        Only items whose row became known on this day (UTC).

    Returns
    -------
    JobResult
        `details`: ``encoded`` (texts), ``untitled`` (items without a title, which get no vector),
        ``encoder``.

    Raises
    ------
    JobError
        The encoder cannot be loaded.
    """
    started = time.monotonic()
    lake.create(ITEM_VECTORS)
    lake.add_new_columns(ITEM_VECTORS)  # tables of before have no category
    if not lake.exists(ITEMS):
        log.info(
            "item-vectors: there is no table 'items', so there are no titles; the pipeline goes on with "
            "clicks alone"
        )
        return _result(lake, started, MergeResult(0, 0, 0), 0, 0, "")
    try:
        name = encoder_name(lake.settings.encoder)
        items = lake.read(ITEMS)
        texts, untitled = _texts(lake.spark, items, name, date)
        changed = _changed(lake, texts)
        count = changed.count()
        if not count:
            result = MergeResult(0, 0, lake.version(ITEM_VECTORS))
        else:
            workers = max(1, min(lake.spark.sparkContext.defaultParallelism, count // ITEMS_PER_WORKER))
            encoded = encode_frame(changed.repartition(workers), lake.settings.encoder)
            result = lake.merge(ITEM_VECTORS, encoded)
    except EncoderError as error:
        raise JobError(str(error)) from None
    if untitled:
        log.info("item-vectors: %d items have no title and get no vector", untitled)
    return _result(lake, started, result, count, untitled, name)


def content_hash(encoder: str, text: str) -> str:
    """Return the hash by which a changed text, or another encoder, is noticed."""
    return hashlib.blake2b(f"{encoder}\x1f{text}".encode(), digest_size=16).hexdigest()


def _texts(
    spark: SparkSession, items: DataFrame, encoder: str, date: datetime.date | None
) -> tuple[DataFrame, int]:
    from pyspark.sql import functions as F

    chosen = items if date is None else items.where(F.to_date("created") == F.lit(date))
    schema = "item_id string, event_timestamp timestamp, text string, content_hash string, category string"
    texts = chosen.select("item_id", "event_timestamp", "title", "category").mapInArrow(
        _texter(encoder), schema
    )
    untitled = texts.where("text = ''").count()
    return texts.where("text <> ''"), untitled


def _texter(encoder: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run_in_worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            columns = batch.to_pydict()
            texts = [
                item_text(title, category)
                for title, category in zip(columns["title"], columns["category"], strict=True)
            ]
            hashes = pa.array([content_hash(encoder, text) for text in texts], pa.string())
            yield pa.RecordBatch.from_arrays(
                [
                    batch.column("item_id"),
                    batch.column("event_timestamp"),
                    pa.array(texts, pa.string()),
                    hashes,
                    batch.column("category"),
                ],
                names=["item_id", "event_timestamp", "text", "content_hash", "category"],
            )

    return run_in_worker


def _changed(lake: Lake, texts: DataFrame) -> DataFrame:
    known = lake.read(ITEM_VECTORS).select("item_id", "content_hash", "category").alias("known")
    same = [texts[name].eqNullSafe(known[name]) for name in ("item_id", "content_hash", "category")]
    return texts.join(known, same, "left_anti")


def encode_frame(frame: DataFrame, settings: EncoderSettings) -> DataFrame:
    """Encode rows of ``item_id, event_timestamp, text, content_hash, category`` in Spark's workers; each
    loads the encoder once.

    Returns
    -------
    DataFrame
        Schema of `item_vectors`.
    """
    return frame.mapInArrow(_encoder(settings), spark_schema(ITEM_VECTORS))


def _encoder(settings: EncoderSettings) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run_in_worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoder = loaded_encoder(settings)
        for batch in batches:
            if batch.num_rows:
                yield _encoded(batch, encoder)

    return run_in_worker


def _encoded(batch: pa.RecordBatch, encoder: TextEncoder) -> pa.RecordBatch:
    vectors = encoder.encode(batch.column("text").to_pylist())
    now = datetime.datetime.now(datetime.UTC)
    columns: dict[str, Any] = {
        name: batch.column(name)
        for name in ("item_id", "text", "content_hash", "category", "event_timestamp")
    }
    columns["encoder"] = pa.array([encoder.name] * len(vectors), pa.string())
    columns["vector"] = vectors_column(vectors)
    columns["created"] = pa.array([now] * len(vectors), ITEM_VECTORS_SCHEMA.field("created").type)
    arrays = [columns[field.name].cast(field.type) for field in ITEM_VECTORS_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=ITEM_VECTORS_SCHEMA)


def vectors_column(vectors: Any) -> pa.Array:
    """Return a float32 matrix of shape (n, dim) as an Arrow column of lists, without a Python object per
    number.
    """
    rows, dim = vectors.shape
    offsets = pa.array(range(0, rows * dim + 1, dim) if dim else [0] * (rows + 1), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.reshape(-1), pa.float32()))


@lru_cache(maxsize=2)
def loaded_encoder(settings: EncoderSettings) -> TextEncoder:
    """Return the encoder, loaded once a process, on one thread: Spark runs one worker a core."""
    import torch

    torch.set_num_threads(1)
    return TextEncoder.load(settings)


def _result(
    lake: Lake,
    started: float,
    result: MergeResult,
    encoded: int,
    untitled: int,
    name: str,
) -> JobResult:
    rows = lake.read(ITEM_VECTORS).count()
    details = {"encoded": encoded, "untitled": untitled, "encoder": name}
    version = lake.version(ITEM_VECTORS)
    return JobResult(
        ITEM_VECTORS, rows, result.inserted, result.updated, 0, version, time.monotonic() - started, details
    )
