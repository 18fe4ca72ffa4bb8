"""Pages that mkdocs builds beside those of `docs/`: the README as the front page, decisions by number, an
API page for each package folder. Links out of `docs/` are checked against the tree; as a site has no tree,
their text is shown as the path.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("intentstore", "dagster_project", "streaming", "spark_jobs", "model", "feature_repo")
FRONT = "index.md"
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Append the decisions and the API pages to the navigation."""
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert config.nav is not None
    config.nav += [
        {"Decisions": [f"adr/{file.name}" for file in decisions]},
        {"API": [{folder.replace("/", "."): _page_of(folder)} for folder in _folders()]},
    ]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the front page and the API pages."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, FRONT, content=_from_root(readme)))
    for folder in _folders():
        files.append(File.generated(config, _page_of(folder), content=_api_page(folder)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show links out of `docs/` as paths; raise ``PluginError`` where a path does not exist."""
    here = posixpath.dirname(page.file.src_uri)

    def shown(link: re.Match[str]) -> str:
        target = link["target"]
        if ":" in target:
            return link[0]
        path = posixpath.normpath(posixpath.join(here, target))
        if files.get_file_from_path(path) is not None:
            return link[0]
        outside = posixpath.normpath(posixpath.join("docs", path))
        if not (ROOT / outside).exists():
            raise PluginError(f"{page.file.src_uri}: link to '{target}', but there is no '{outside}'")
        return f"{link['text']} (`{outside}`)"

    return _LINK.sub(shown, markdown)


def _from_root(text: str) -> str:
    """Turn the README's links, which begin at the root, into links that begin at `docs/`."""
    inside = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\]\((?!https?:|[\w-]+\.md|images/|adr|#)", "](../", inside)


def _folders() -> list[str]:
    """Every package folder with a module that has something public to read, top packages in layers' order."""
    found = []
    for package in PACKAGES:
        folders = sorted({file.parent for file in (ROOT / package).rglob("*.py")})
        found += [str(folder.relative_to(ROOT)) for folder in folders if any(_modules(folder))]
    return found


def _modules(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.glob("*.py")):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        named = (node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef))
        if any(not node.name.startswith("_") and ast.get_docstring(node) for node in named):
            yield file


def _page_of(folder: str) -> str:
    return f"api/{folder.replace('/', '.')}.md"


def _api_page(folder: str) -> str:
    modules = [file.relative_to(ROOT).with_suffix("") for file in _modules(ROOT / folder)]
    names = [str(module).replace("/", ".").removesuffix(".__init__") for module in modules]
    return f"# {folder.replace('/', '.')}\n\n" + "\n".join(f"::: {name}\n" for name in names)
