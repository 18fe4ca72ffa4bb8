"""New items of the catalogue to the models that serve, as an asset."""

import dagster as dg

from dagster_project.defs import catalogue
from dagster_project.defs.batch import SMALL
from dagster_project.defs.training import PROMOTED
from dagster_project.models import new_items
from dagster_project.resources import SettingsResource
from dagster_project.run import metadata
from feature_repo.contract import tables as columns

NEW_ITEMS = dg.AssetKey("new_items")


@dg.asset(
    key=NEW_ITEMS,
    group_name="serving",
    kinds={"python"},
    owners=list(catalogue.OWNERS),
    deps=[dg.AssetKey(columns.ITEMS), dg.AssetKey(columns.ITEM_VECTORS), PROMOTED],
    automation_condition=SMALL,
    freshness_policy=catalogue.TABLE_FRESHNESS,
)
def new_items_beside_the_model(
    context: dg.AssetExecutionContext, settings: SettingsResource
) -> dg.MaterializeResult[None]:
    """Items that joined the catalogue after the promoted model's training, for
    `models/new_items.safetensors`: ranked from their titles within seconds.
    """
    try:
        found = new_items.update(settings.load())
    except new_items.ERRORS as error:
        raise dg.Failure(f"{error}; the models rank the new items they had", allow_retries=False) from None
    rows, version = found.pop("rows"), found["version"]
    context.log.info(
        f"model {version} ranks {rows} items from their titles alone"
        if version
        else "no model is promoted yet; the next one knows every item"
    )
    if found["left_out"]:
        context.log.warning(
            f"{found['left_out']} new items have vectors of another encoder than model {version}; train and "
            "promote a model to rank them"
        )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows,
            **{name: metadata.figure(value) for name, value in found.items()},
        }
    )


ASSETS = [new_items_beside_the_model]
