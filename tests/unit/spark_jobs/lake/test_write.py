import json

from feature_repo.contract.settings import Settings
from spark_jobs.lake.errors import explain
from spark_jobs.lake.log import DeltaLog


def test_a_full_disk_is_told_with_table_version_and_remedy(tmp_path):
    settings = Settings(home=tmp_path)
    log = settings.table("clicks") / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{3:020d}.json").write_text("{}")
    line = explain("java.io.IOException: No space left on device\n\tat java.base", "clicks", settings)
    assert "disk full" in line and "still at version 3" in line and "\n" not in line


def test_what_delta_says_is_kept_without_its_trace(tmp_path):
    text = (
        "An error occurred while calling o1.execute.\n: org.X: [DELTA_NOT_NULL_CONSTRAINT_VIOLATED] NOT "
        "NULL constraint violated for column: a.\n\tat b"
    )
    line = explain(text, "items", Settings(home=tmp_path))
    assert "[DELTA_NOT_NULL_CONSTRAINT_VIOLATED]" in line and "\tat" not in line


def test_versions_and_metadata_are_read_from_the_log_without_spark(tmp_path):
    settings = Settings(home=tmp_path)
    assert (
        DeltaLog(settings.table("clicks")).version() == -1
        and DeltaLog(settings.table("clicks")).metadata() == {}
    )
    log = settings.table("clicks") / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{10:020d}.json").write_text(json.dumps({"commitInfo": {"userMetadata": '{"clicks": 4}'}}) + "\n")
    (log / f"{9:020d}.json").write_text("{}\n")
    assert DeltaLog(settings.table("clicks")).version() == 10
    assert DeltaLog(settings.table("clicks")).metadata() == {"clicks": 4}
