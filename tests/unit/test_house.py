"""Holds the house to its rules: folders that can be seen at once, one direction of imports, one thought a
line. Counted in the source, so that a lapse is named with its place.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("intentstore", "feature_repo", "spark_jobs", "streaming", "model", "dagster_project")
MOST_MODULES = 16  # of a folder
MOST_LATE_IMPORTS = 40  # of our own modules inside functions, in all packages
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def modules() -> dict[Path, ast.Module]:
    files = (file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    return {file.relative_to(ROOT): ast.parse(file.read_text(encoding="utf-8")) for file in sorted(files)}


def parents(tree: ast.Module) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def above(node: ast.AST, parent: dict[ast.AST, ast.AST]) -> Iterator[ast.AST]:
    while node in parent:
        node = parent[node]
        yield node


def is_ours(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] in PACKAGES
    return isinstance(node, ast.Import) and any(name.name.split(".")[0] in PACKAGES for name in node.names)


def test_no_folder_has_more_modules_than_can_be_seen_at_once():
    counts = Counter(file.parent for file in modules() if file.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_our_own_modules_are_imported_at_the_top():
    late = []
    for file, tree in modules().items():
        parent = parents(tree)
        for node in filter(is_ours, ast.walk(tree)):
            if any(isinstance(outer, FUNCTIONS) for outer in above(node, parent)):
                late.append(f"{file}:{node.lineno}")
    assert len(late) < MOST_LATE_IMPORTS, late


def test_no_comprehension_stands_in_another():
    nested = []
    for file, tree in modules().items():
        parent = parents(tree)
        for node in ast.walk(tree):
            outer = above(node, parent)
            if isinstance(node, COMPREHENSIONS) and any(isinstance(ring, COMPREHENSIONS) for ring in outer):
                nested.append(f"{file}:{node.lineno}")
    assert nested == []


def test_what_is_imported_when_used_is_what_the_checker_reads():
    """`lazy("a.b")` stands for the import of the same module under TYPE_CHECKING, by the same name."""
    for file, tree in modules().items():
        for block in (node for node in tree.body if isinstance(node, ast.If)):
            if ast.unparse(block.test) == "TYPE_CHECKING" and block.orelse:
                read = set()
                for node in block.body:
                    if isinstance(node, ast.ImportFrom):
                        read |= {
                            (name.asname or name.name, f"{node.module}.{name.name}") for name in node.names
                        }
                lazy = {
                    (ast.unparse(node.targets[0]), node.value.args[0].value)
                    for node in block.orelse
                    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
                }
                assert lazy <= read, file


@pytest.mark.parametrize("package", PACKAGES)
def test_every_logger_has_the_same_name(package):
    names = {
        ast.unparse(node.targets[0])
        for file, tree in modules().items()
        for node in tree.body
        if file.parts[0] == package
        and isinstance(node, ast.Assign)
        and ast.unparse(node.value).startswith("logging.getLogger")
    }
    assert names <= {"log"}


def test_settings_are_read_without_a_trace():
    code = (
        "import sys; before = list(sys.meta_path); import feature_repo.contract.settings; "
        "print(sys.meta_path == before, sorted({'torch', 'feast', 'pandas', 'pyspark'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["True", "[]"]
