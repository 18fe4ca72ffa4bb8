"""Batch jobs on Spark that write Delta; each is a plain function, run by `python -m spark_jobs JOB`."""
