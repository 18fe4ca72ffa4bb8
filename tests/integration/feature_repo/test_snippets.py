"""The Python that README and docs/features.md show for readers of features, run as it stands, each page in a
process of its own that has no Java.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import delta_files
import pyarrow as pa
import pytest

from feature_repo.contract import tables as columns
from feature_repo.contract.settings import load_settings
from feature_repo.registry import store

ROOT = Path(__file__).resolve().parents[3]
PAGES = {
    "README.md": (["### Read features"], 'assert history["click_count"].tolist() == [7], history'),
    "docs/features.md": (
        ["## Train on the past", "## Read live"],
        'assert frame.equals(again) and versions == {"session_features": 0, "session_intents": 0}, versions',
    ),
}


def python_of(page, headings):
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for heading in headings:
        section = re.split(r"\n##+ ", text[text.index(heading) :])[0]
        found.append(re.search(r"```python\n(.*?)```", section, re.DOTALL)[1])
    return "\n".join(found)


@pytest.fixture(scope="module")
def home(tmp_path_factory, small, valkey):
    folder = tmp_path_factory.mktemp("snippets")
    rows = {
        columns.SESSION_FEATURES: [small.feature_row("42", 1, 1, 7), small.feature_row("1", 1, 1, 3)],
        columns.SESSION_INTENTS: [small.intent_row("42", 1, 0.5)],
    }
    for table, listed in rows.items():
        made = pa.Table.from_pylist(listed, schema=columns.SCHEMAS[table])
        delta_files.write(folder / "lake" / table, [made])
    store.apply(load_settings(Path(os.devnull), {}, {"home": str(folder), "online.url": valkey.url}))
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_as_it_stands(page, home, valkey, tmp_path):
    headings, proof = PAGES[page]
    environment = {
        "PATH": str(Path(sys.executable).parent),  # no java
        "PYTHONPATH": str(ROOT),
        "INTENTSTORE_HOME": str(home),
        "INTENTSTORE_ONLINE__URL": valkey.url,
    }
    done = subprocess.run(
        [sys.executable, "-c", f"{python_of(page, headings)}\n{proof}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
