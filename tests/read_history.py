"""What another team runs with `intentstore[features]` alone: history of a home's lake, in an own process.

    python read_history.py ROWS

Prints one line of JSON: versions, values, seconds of the read.
"""

from __future__ import annotations

import json
import os
import sys
import time

import pandas as pd

from feature_repo.contract.settings import load_settings
from feature_repo.registry.store import apply, feature_store


def main(count: int) -> None:
    """Read ``count`` rows of `session_features` and print what was found."""
    settings = load_settings(None, os.environ)
    apply(settings)
    begun = time.perf_counter()
    rows = pd.DataFrame(
        {
            "session_id": [f"s{number % 50}" for number in range(count)],
            "event_timestamp": pd.Timestamp("2024-03-10T07:00:00Z"),
        }
    )
    job = feature_store(settings).get_historical_features(
        entity_df=rows, features=["session_features:click_count"]
    )
    counts = job.to_df()["click_count"].tolist()
    print(
        json.dumps(
            {
                "versions": job.delta_versions,
                "counts": counts[:3],
                "seconds": time.perf_counter() - begun,
                "pyspark": "pyspark" in sys.modules,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
