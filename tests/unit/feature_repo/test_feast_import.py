"""Feast without its run-time type checks, and Feast as it is for those who import it first."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHOWS = """
from feast import Entity
try:
    Entity(name="item", description=5)
    print("taken")
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(("first", "answer"), [("import feature_repo", "taken"), ("import feast; import feature_repo", "TypeCheckError")])
def test_who_imports_feast_first_decides(first, answer):
    done = subprocess.run([sys.executable, "-c", f"{first}\n{SHOWS}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == answer
