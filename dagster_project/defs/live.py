"""The live half of the graph: replay, answers, what comes back to the lake, parity; and what runs outside
Dagster as external assets.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from dagster_project.defs import catalogue
from dagster_project.defs.batch import POOL
from dagster_project.resources import SettingsResource
from dagster_project.run import parent as child_run
from dagster_project.run import steps

_OUTSIDE = {"intentstore/runs": "outside"}


def _external(key: str, kinds: set[str], text: str, deps: tuple[str, ...] = ()) -> dg.AssetSpec:
    return dg.AssetSpec(
        dg.AssetKey(key.split("/")),
        group_name="serving",
        kinds=kinds,
        description=text,
        owners=list(catalogue.OWNERS),
        tags=_OUTSIDE,
        deps=[dg.AssetKey(name.split("/")) for name in deps],
    )


EXTERNAL = [
    _external(
        "kafka/clicks", {"kafka"}, "Topic `clicks`, key = session. Observed: end offsets, clicks a second."
    ),
    _external(
        "live/consumer",
        {"kafka", "pytorch"},
        (
            "`python -m streaming consume`: runs outside Dagster. Observed: lag, rate, p99 from click to "
            "answer, model version."
        ),
        ("kafka/clicks", "promoted_model", "new_items", "online_features"),
    ),
    _external(
        "kafka/recommendations", {"kafka"}, "Topic `recommendations`: one answer a click.", ("live/consumer",)
    ),
    _external(
        "kafka/dead_letters",
        {"kafka"},
        "Topic `clicks.dlq`: refused clicks with reason. Look at them with `python -m streaming dlq list`.",
        ("live/consumer",),
    ),
    _external(
        "online_store",
        {"redis"},
        "valkey or redis: the newest features by session and item. Observed: keys, memory.",
        ("live/consumer", "online_features"),
    ),
]


class ReplayConfig(dg.Config):
    """Settings of the replay."""

    clicks_per_second: float = Field(
        150.0, gt=0, description="Pace of the replay; latency is only of interest below the consumer's limit."
    )
    max_clicks: int = Field(0, ge=0, description="At most so many clicks; 0 = all that were held back.")
    force: bool = Field(False, description="Run every selected step even if nothing it reads has changed.")


_ASSETS = catalogue.assets_of(steps.LIVE)


@dg.multi_asset(
    name="spark_live",
    specs=[catalogue.spec(asset) for asset in _ASSETS],
    check_specs=catalogue.check_specs(_ASSETS),
    can_subset=True,
    pool=POOL,
)
def spark_live(
    context: dg.AssetExecutionContext, config: ReplayConfig, settings: SettingsResource
) -> Iterator[child_run.Event]:
    """Replay held-out clicks, let the consumer answer them, bring both back to the lake and compare, in one
    JVM.
    """
    replay = {"clicks_per_second": config.clicks_per_second, "max_clicks": config.max_clicks}
    yield from child_run.run_family(context, settings, "live", force=config.force, options={"replay": replay})


ASSETS: list[Any] = [*EXTERNAL, spark_live]
