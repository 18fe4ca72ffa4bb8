"""The guides of `docs/guides` are notebooks; each runs from top to bottom on the home that the demo left."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[4]
GUIDES = sorted(file.stem for file in (ROOT / "docs" / "guides").glob("*.md"))


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_runs_from_top_to_bottom(demo, name, tmp_path, monkeypatch):
    shutil.copy(demo.config, tmp_path / "intentstore.toml")  # where its reader has it: in the working folder
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = jupytext.read(ROOT / "docs" / "guides" / f"{name}.md")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert len(cells) >= 4 and all(cell.execution_count for cell in cells)
    assert not (demo.home / "services" / "endpoints.json").exists()  # a guide stops what it started


def test_there_is_a_guide_for_each_kind_of_user():
    assert GUIDES == ["data-scientist", "operator", "researcher", "shop"]
