"""The pages and the API reference build without a warning, and a link to nowhere stops them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from mkdocs.config import load_config
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return folder


def test_every_page_of_docs_and_the_readme_is_there(site):
    pages = {file.relative_to(ROOT / "docs").with_suffix(".html") for file in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not (site / page).exists()} == set()
    assert "Two commands" in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("feature_repo.contract", "FoldConfig"),
        ("model.recommender", "LoadedModel"),
        ("streaming.consumer", "Consumer"),
        ("spark_jobs.lake", "DeltaLog"),
        ("feature_repo.stores.offline", "DeltaOfflineStore"),
    ],
)
def test_reference_is_made_of_the_docstrings(site, page, words):
    text = (site / "api" / f"{page}.html").read_text(encoding="utf-8")
    assert words in text and "Parameters" in text


def test_pages_ask_no_other_machine_for_anything(site):
    text = "".join(file.read_text(encoding="utf-8") for file in site.glob("*.html"))
    assert "fonts.googleapis" not in text and '<script src="http' not in text
    assert '<link rel="stylesheet" href="http' not in text


def test_a_link_to_nowhere_stops_the_build():
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "scripts" / "docs_pages.py")
    assert spec is not None and spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    config = load_config(str(ROOT / "mkdocs.yml"))
    file = File("architecture.md", config.docs_dir, config.site_dir, use_directory_urls=False)
    page, files = Page(None, file, config), Files([file])
    shown = hook.on_page_markdown("[text](../Makefile)", page=page, config=config, files=files)
    assert shown == "text (`Makefile`)"
    with pytest.raises(PluginError, match=r"architecture\.md: link to '\.\./nowhere\.py'"):
        hook.on_page_markdown("[text](../nowhere.py)", page=page, config=config, files=files)
