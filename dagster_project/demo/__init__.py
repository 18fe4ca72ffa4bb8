"""`python -m dagster_project demo`: the whole path and its report."""
