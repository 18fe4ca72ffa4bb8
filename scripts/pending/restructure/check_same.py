"""Checks that two commits of a tree say the same Python (docstrings apart from white space): python check_same.py TREE OLD NEW."""

from __future__ import annotations

import ast
import subprocess
import sys


def shape(text: str) -> str:
    tree = ast.parse(text)
    body = tree.body
    runs: list[ast.stmt] = []
    for node in [*body, None]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            runs.append(node)
            continue
        if runs:
            runs.clear()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            first.value.value = " ".join(first.value.value.replace("(", " ").replace(")", " ").replace(",", " ").replace("...", " ").split())
    return ast.dump(tree)


def main(tree: str, old: str, new: str) -> int:
    git = lambda *words: subprocess.run(["git", "-C", tree, *words], check=True, capture_output=True, text=True).stdout
    bad = 0
    for name in git("ls-tree", "-r", "--name-only", new).splitlines():
        if not name.endswith(".py"):
            continue
        one, two = shape(git("show", f"{old}:{name}")), shape(git("show", f"{new}:{name}"))
        if one != two:
            at = next(i for i, (a, b) in enumerate(zip(one, two)) if a != b)
            print(f"{name}\n  {one[max(0, at - 80) : at + 120]}\n  {two[max(0, at - 80) : at + 120]}")
            bad += 1
    print(f"{bad} files differ")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
