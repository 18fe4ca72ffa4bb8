import pytest

from spark_jobs.job import JobError
from spark_jobs.sessions.training_set import parse_pins


def test_a_pin_without_version_is_told():
    with pytest.raises(JobError, match="TABLE=VERSION"):
        parse_pins("sessions")


def test_no_pins_are_no_pins():
    assert parse_pins("") == {}
