"""The one registry of tables: every column has a meaning, every origin is a column that exists, every table
says who fills it.
"""

import pyarrow as pa
import pytest

from dagster_project.run import steps
from feature_repo.contract.tables import ITEMS, TABLES, Field
from spark_jobs.jobs import JOBS


def test_a_column_without_a_meaning_is_an_error():
    with pytest.raises(ValueError, match="column 'price' has no meaning"):
        Field("price", pa.float64(), " ")


def test_an_origin_names_a_table_and_a_column():
    with pytest.raises(ValueError, match="'clicks' is no table.column"):
        Field("price", pa.float64(), "What it costs.", True, ("clicks",))


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_origins_keys_and_jobs_of_a_table_exist(table):
    for field in table.fields:
        for origin in field.origins:
            other, column = origin.split(".")
            assert TABLES[other].field(column), (field.name, origin)
    for column in table.key:
        assert table.field(column).required
    assert table.job.split()[0] in JOBS
    assert table.text and table.group


def test_every_table_that_a_step_makes_is_an_asset_of_it():
    made = {asset for step in steps.BATCH for asset in step.assets}
    assert set(TABLES) - made == {"score_log", "item_updates", "live_quality"}


def test_a_missing_column_is_named_with_its_table():
    with pytest.raises(KeyError, match="table 'items' has no column 'price'"):
        TABLES[ITEMS].field("price")
