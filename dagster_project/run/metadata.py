"""What the graph shows of a table: schema, lineage of columns, rows, size, figures, pictures. Computes
nothing else.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_project.checks.live import live_days, tested_figures
from dagster_project.checks.tables import delta_type
from dagster_project.run import steps
from dagster_project.run.memory import Report, plain
from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings
from spark_jobs.lake.log import DeltaLog

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_TEXT = 500  # characters of one figure's text; longer ones would push the rest off the page
PICTURE_DPI = 80


def static_metadata(asset: str) -> dict[str, Any]:
    """Return what is known of an asset's table before any run: its columns and where they come from.

    Parameters
    ----------
    asset : str
        Asset key with slashes.

    Returns
    -------
    dict
        Empty for assets without a table.
    """
    table = steps.TABLES.get(asset)
    if table is None:
        return {}
    made = columns.TABLES[table]
    shown = [
        dg.TableColumn(
            field.name,
            delta_type(field.kind),
            description=field.meaning,
            constraints=dg.TableColumnConstraints(
                nullable=not field.required, unique=made.key == (field.name,)
            ),
        )
        for field in made.fields
    ]
    found: dict[str, Any] = {"dagster/column_schema": dg.TableSchema(shown), "dagster/table_name": table}
    sources = {field.name: list(map(_dependency, field.origins)) for field in made.fields if field.origins}
    if sources and asset == table:
        found["dagster/column_lineage"] = dg.TableColumnLineage(sources)
    return found


def _dependency(origin: str) -> dg.TableColumnDep:
    table, column = origin.split(".")
    return dg.TableColumnDep(dg.AssetKey(table), column)


def figure(value: Any) -> dg.MetadataValue[Any]:
    """Turn one figure of a report into what the graph shows best.

    Examples
    --------
    >>> figure(3).value, figure({"a": 1}).value
    (3, {'a': 1})
    """
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float):
        return dg.MetadataValue.float(value)
    if isinstance(value, Mapping | list | tuple):
        return dg.MetadataValue.json(plain(value))
    return dg.MetadataValue.text(str(value)[:MAX_TEXT])


def run_metadata(asset: str, settings: Settings, report: Report) -> dict[str, dg.MetadataValue[Any]]:
    """Describe one materialisation of an asset.

    Parameters
    ----------
    asset : str
        Asset key with slashes.
    settings : Settings
        Where the tables are.
    report : Report
        What the step gave.

    Returns
    -------
    dict
        Rows, sizes, versions, durations and the step's further figures.
    """
    found: dict[str, dg.MetadataValue[Any]] = {
        "seconds": figure(round(report.seconds, 3)),
        "unchanged": figure(report.skipped),
    }
    table = steps.TABLES.get(asset)
    if table is not None and DeltaLog(settings.table(table)).version() >= 0:
        state = DeltaLog(settings.table(table)).snapshot()
        found |= {
            "dagster/row_count": figure(state.rows()),
            "bytes": figure(state.bytes),
            "files": figure(len(state.files)),
            "delta_version": figure(state.version),
        }
        found["dagster/uri"] = dg.MetadataValue.path(str(settings.table(table)))
    elif report.rows:
        found["dagster/row_count"] = figure(report.rows)
    if asset == steps.step_of(asset).assets[0]:
        found |= {name: figure(getattr(report, name)) for name in ("inserted", "updated", "refused")}
    if table == columns.LIVE_QUALITY and (days := live_days(settings)):
        from dagster_project.models.plots import over_time

        known = {row["model_version"]: tested_figures(settings, row["model_version"]) for row in days}
        found["quality_over_time"] = picture(over_time(days, known), "live hit rate and MRR by day")
    return found | {name: figure(value) for name, value in report.details.items()}


def data_version(asset: str, settings: Settings, report: Report) -> dg.DataVersion | None:
    """Return the Delta version of an asset's table as its data version; none where there is no table."""
    table = steps.TABLES.get(asset)
    version = DeltaLog(settings.table(table)).version() if table else -1
    return dg.DataVersion(str(version)) if version >= 0 else None


def picture(drawn: Figure, title: str) -> dg.MetadataValue[Any]:
    """Embed a figure as PNG, so that it needs neither file nor server.

    Parameters
    ----------
    drawn : matplotlib Figure
        Closed here.
    title : str
        Shown where pictures are not.

    Returns
    -------
    MetadataValue
        Markdown with the picture in it.
    """
    from matplotlib import pyplot

    target = io.BytesIO()
    drawn.savefig(target, format="png", dpi=PICTURE_DPI, bbox_inches="tight")
    pyplot.close(drawn)
    return dg.MetadataValue.md(
        f"![{title}](data:image/png;base64,{base64.b64encode(target.getvalue()).decode()})"
    )
