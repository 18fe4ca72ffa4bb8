"""The as-of join on Spark: for each entity row the latest feature row known by its time. Knows data frames
only, nothing of Feast.

Per view, in this order; everything up to step 3 carries keys, times and a row number only:
  1 union   entity rows and feature rows as (keys, instant, side), times as microseconds, so that no session
            time zone matters
  2 sort    one window per key by instant: running maximum of (event time, created) = the row known by then
  3 ttl     drop what is older than the view's ttl
  4 fetch   the payload of the rows found, once, by (keys, event time, created); rows that tie on all of
            these: the greatest content hash
The number of feature rows and of entity rows enter as a sum, never as a product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import MapType, StructType

from feature_repo.stores.offline.entity_rows import AT, ROW
from feature_repo.stores.offline.view_columns import ViewColumns

_EVENT, _CREATED, _BEST, _INSTANT, _SIDE, _HASH, _RANK = (
    "__event",
    "__created",
    "__best",
    "__instant",
    "__side",
    "__hash",
    "__rank",
)
BROADCAST_ROWS = 400_000  # some 40 MB of keys and times: fits a 1 GB driver; more rows join by shuffle


@dataclass(frozen=True)
class ViewPlan:
    """What one feature view contributes to a join: its source, and the columns that are read of it."""

    frame: DataFrame
    columns: ViewColumns


def join(entities: DataFrame, plans: Sequence[ViewPlan], entity_rows: int) -> DataFrame:
    """Join the features of several views to entity rows.

    Parameters
    ----------
    entities : DataFrame
        With `ROW` (distinct), `AT` and the key columns; must give the same rows each time it is evaluated.
    plans : sequence of ViewPlan
    entity_rows : int
        Number of rows of `entities`; decides how the payload is fetched.

    Returns
    -------
    DataFrame
        Every row of `entities` exactly once, its columns, then the features of each plan; rows without a
        feature hold nulls. In no order.
    """
    return reduce(
        lambda joined, plan: joined.join(_one_view(entities, plan, entity_rows), ROW, "left"), plans, entities
    )


def _one_view(entities: DataFrame, plan: ViewPlan, entity_rows: int) -> DataFrame:
    found = _find(entities, plan)
    if entity_rows <= BROADCAST_ROWS:
        found = F.broadcast(found)
    names = [_key(number) for number in range(len(plan.columns.keys))]
    payload = plan.frame.select(
        *_key_columns(plan),
        _micros(plan.columns.event).alias(_EVENT),
        _created(plan).alias(_CREATED),
        *(_column(source).alias(output) for output, source in plan.columns.features),
    )
    left, right = payload.alias("payload"), found.alias("found")
    same = [F.col(f"payload.{name}") == F.col(f"found.{name}") for name in [*names, _EVENT]]
    same.append(F.col(f"payload.{_CREATED}").eqNullSafe(F.col(f"found.{_CREATED}")))
    outputs = [output for output, _ in plan.columns.features]
    matched = left.join(right, reduce(Column.__and__, same), "inner").select(
        F.col(f"found.{ROW}"), *(_column(output) for output in outputs)
    )
    order = Window.partitionBy(ROW).orderBy(F.desc(_HASH))
    hashed = matched.withColumn(
        _HASH, F.xxhash64(*(_hashable(matched, output) for output in outputs)) if outputs else F.lit(0)
    )
    return hashed.withColumn(_RANK, F.row_number().over(order)).where(F.col(_RANK) == 1).drop(_RANK, _HASH)


def _find(entities: DataFrame, plan: ViewPlan) -> DataFrame:
    """Steps 1 to 3: (row, keys, event time, created) of the feature row each entity row sees; rows that see
    none are left out.
    """
    names = [_key(number) for number in range(len(plan.columns.keys))]
    known = F.greatest(_EVENT, _CREATED) if plan.columns.known_by_created else F.col(_EVENT)
    # a row of unknown creation is never known to be known
    needed = [*names, _EVENT, *([_CREATED] if plan.columns.known_by_created else [])]
    history = plan.frame.select(
        *_key_columns(plan), _micros(plan.columns.event).alias(_EVENT), _created(plan).alias(_CREATED)
    ).dropna(subset=needed)
    best, no_row = F.struct(_EVENT, _CREATED).alias(_BEST), F.lit(None).cast("bigint").alias(ROW)
    history = history.select(*names, known.alias(_INSTANT), F.lit(0).alias(_SIDE), best, no_row)
    asked = entities.select(
        *(_column(entity).alias(_key(number)) for number, (entity, _) in enumerate(plan.columns.keys)),
        F.col(AT).alias(_INSTANT),
        F.lit(1).alias(_SIDE),
        F.lit(None).cast(f"struct<{_EVENT}:bigint,{_CREATED}:bigint>").alias(_BEST),
        F.col(ROW),
    ).dropna(subset=[*names, _INSTANT])
    window = Window.partitionBy(*names) if names else Window.partitionBy(F.lit(0))
    running = window.orderBy(_INSTANT, _SIDE).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    seen = history.unionByName(asked).withColumn(_BEST, F.max(_BEST).over(running))
    seen = seen.where((F.col(_SIDE) == 1) & F.col(_BEST).isNotNull())
    if plan.columns.ttl_us:
        seen = seen.where(F.col(f"{_BEST}.{_EVENT}") >= F.col(_INSTANT) - F.lit(plan.columns.ttl_us))
    return seen.select(
        ROW, *names, F.col(f"{_BEST}.{_EVENT}").alias(_EVENT), F.col(f"{_BEST}.{_CREATED}").alias(_CREATED)
    )


def latest(
    frame: DataFrame, keys: Sequence[str], event: str, created: str | None, features: Sequence[str]
) -> DataFrame:
    """Pick the latest row of each key, ties as in the as-of join.

    Parameters
    ----------
    frame : DataFrame
    keys, features : sequence of str
        Columns.
    event, created : str
        Time columns; `created` may be missing.

    Returns
    -------
    DataFrame
        One whole row a key with keys, features and times.
    """
    chosen = frame.select(
        *(_column(name) for name in [*keys, *features, event, *([created] if created else [])])
    ).dropna(subset=[*keys, event])
    content = F.xxhash64(*(_hashable(chosen, name) for name in features)) if features else F.lit(0)
    order = [F.desc(event), *([F.desc_nulls_last(created)] if created else []), F.desc(content)]
    window = (Window.partitionBy(*keys) if keys else Window.partitionBy(F.lit(0))).orderBy(*order)
    return chosen.withColumn(_RANK, F.row_number().over(window)).where(F.col(_RANK) == 1).drop(_RANK)


def _key(number: int) -> str:
    return f"__key{number}"


def _key_columns(plan: ViewPlan) -> list[Column]:
    return [_column(source).alias(_key(number)) for number, (_, source) in enumerate(plan.columns.keys)]


def _column(name: str) -> Column:
    return F.col("`" + name.replace("`", "``") + "`")


def _micros(name: str) -> Column:
    return F.unix_micros(_column(name).cast("timestamp"))


def _created(plan: ViewPlan) -> Column:
    return _micros(plan.columns.created) if plan.columns.created else F.lit(None).cast("bigint")


def _hashable(frame: DataFrame, name: str) -> Column:
    kind = frame.schema[name].dataType
    return F.to_json(F.struct(_column(name))) if isinstance(kind, MapType | StructType) else _column(name)
