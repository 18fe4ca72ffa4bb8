"""The days that the daily assets are cut into."""

from __future__ import annotations

import dagster as dg

# of ML-100K; older datasets go through the whole-table assets, which know no first day
FIRST_DAY = "1997-09-20"
DAYS = dg.DailyPartitionsDefinition(FIRST_DAY, end_offset=1, timezone="UTC")
