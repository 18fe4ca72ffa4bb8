#!/usr/bin/env python3.11
"""Turns a checkout in the old layout into the new one; see README beside this file."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import air
import layout_table as table
import references

PACKAGES = ("feature_repo", "spark_jobs", "streaming", "model", "dagster_project")
LATER_PATCHES = ("pyproject.toml", "Makefile")  # they belong to the commit that formats
TEXTS = (".md", ".toml", ".yaml", ".yml", ".sh", ".ambr", ".in", ".json")
LEFT_FOLDERS = ("benchmarks/results", "scripts/pending")  # results; this tool itself, where it is kept in the tree
LEFT = ("CHANGELOG.md", "requirements.in", "requirements.lock")


def lines(text: str) -> dict[str, str]:
    """Read a table of `old new`."""
    return dict(line.split() for line in text.strip().splitlines())


class Tree:
    """A checkout: its tracked files, and git."""

    def __init__(self, root: Path, ruff: str) -> None:
        self.root, self.ruff = root, ruff

    def git(self, *words: str) -> str:
        """Run git; returns its output."""
        return subprocess.run(["git", "-C", str(self.root), *words], check=True, capture_output=True, text=True).stdout

    def files(self) -> list[str]:
        """Tracked files."""
        return [name for name in self.git("ls-files").splitlines() if (self.root / name).is_file()]

    def read(self, name: str) -> str:
        """Text of a file."""
        return (self.root / name).read_text(encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        """Write where the text differs."""
        path = self.root / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def run_ruff(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ruff in the tree."""
        return subprocess.run([self.ruff, *words], cwd=self.root, capture_output=True, text=True, check=False)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "-A")
        self.git("commit", "-q", "--no-verify", "-m", message)


def layout_of(tree: Tree) -> references.Layout:
    """Read the table against the files that are there; every unmapped module is named."""
    present = set(tree.files())
    moves, stays = lines(table.MODULES), set(table.STAYS.split())
    unknown = [
        name
        for name in sorted(present)
        if name.split("/")[0] in PACKAGES and name.endswith((".py", ".html", ".lua")) and name not in moves and name not in stays
    ]
    if unknown:
        raise SystemExit("modules without a home; add a line each to MODULES or STAYS in layout_table.py:\n  " + "\n  ".join(unknown))
    files = {old: new for old, new in moves.items() if old in present}
    files |= _tests(present, files)
    clash = [new for new in files.values() if new in present and new not in files]
    if clash:
        raise SystemExit(f"already there (is this tree in the new layout?): {clash}")
    modules = {references.dotted(old): references.dotted(new) for old, new in moves.items() if old.endswith(".py")}
    packages = dict(table.PACKAGES)
    modules = {old: new for old, new in modules.items() if old not in packages}
    modules |= {references.dotted(name): references.dotted(name) for name in stays if not name.endswith("__init__.py")}
    return references.Layout(files, modules, packages)


def _tests(present: set[str], files: dict[str, str]) -> dict[str, str]:
    explicit = lines(table.TESTS)
    found = {old: new for old, new in explicit.items() if old in present}
    for name in sorted(present):
        kind, _, rest = name.removeprefix("tests/").partition("/")
        folder, _, leaf = rest.rpartition("/")
        if name in explicit or kind not in ("unit", "integration") or not leaf.startswith("test_") or not leaf.endswith(".py"):
            continue
        subject = leaf.removeprefix("test_")
        for home in (folder, f"{folder}/contract", f"{folder}/stores", f"{folder}/intent"):
            if (new := files.get(f"{home}/{subject}")) is not None:
                place, _, stem = new.rpartition("/")
                found[name] = f"tests/{kind}/{place}/test_{stem}"
                break
    twice = [new for new in found.values() if list(found.values()).count(new) > 1]
    if twice:
        raise SystemExit(f"two tests would become one: {sorted(set(twice))}; name their homes in TESTS of layout_table.py")
    snapshots = [name for name in present if name.endswith(".ambr")]
    for name in snapshots:
        folder, _, leaf = name.partition("/__snapshots__/")
        test = f"{folder}/{leaf.removesuffix('.ambr')}.py"
        if test in found:
            place, _, stem = found[test].rpartition("/")
            found[name] = f"{place}/__snapshots__/{stem.removesuffix('.py')}.ambr"
    return found


def move(tree: Tree, layout: references.Layout) -> None:
    """Rename the files, nothing else."""
    for old, new in layout.files.items():
        if old == new:
            continue
        (tree.root / new).parent.mkdir(parents=True, exist_ok=True)
        (tree.root / old).rename(tree.root / new)
    for base in (*PACKAGES, "tests"):
        for folder in sorted((path for path in (tree.root / base).rglob("*") if path.is_dir()), reverse=True):
            entries = list(folder.iterdir())
            if all(entry.name == "__pycache__" for entry in entries) and folder.name != "__pycache__":
                for entry in entries:
                    for pyc in entry.iterdir():
                        pyc.unlink()
                    entry.rmdir()
                folder.rmdir()


def patch(tree: Tree, layout: references.Layout, later: bool) -> None:
    """Apply the edits that no rule covers."""
    for old_path, old, new in table.PATCHES:
        name = layout.files.get(old_path, old_path)
        if (old_path in LATER_PATCHES) != later or not (tree.root / name).exists():
            continue
        text = tree.read(name)
        if old not in text:
            layout.missed.append(f"{old_path}: the text to patch is not there (PATCHES in layout_table.py): {old!r}")
            continue
        tree.write(name, text.replace(old, new))


def refer(tree: Tree, layout: references.Layout) -> None:
    """Make every reference follow."""
    for folder, text in table.INITS.items():
        if any(new.startswith(f"{folder}/") for new in layout.files.values()):
            tree.write(f"{folder}/__init__.py", f'"""{text}"""\n')
    back = {new: old for old, new in layout.files.items()}
    tracked = set(tree.files()) | set(layout.files.values())
    for name in sorted(tracked):
        if not (tree.root / name).is_file() or name in LEFT or name.startswith(LEFT_FOLDERS):
            continue
        where = back.get(name, name)
        if name.endswith(".py"):
            text = references.rewrite_python(layout, tree.read(name), where)
            tree.write(name, _ignored_tests(layout, text, where) if name.endswith("conftest.py") else text)
        elif name.endswith(TEXTS) or Path(name).name == "Makefile":
            tree.write(name, references.rewrite_text(layout, tree.read(name), where))
    for name, text in table.ALIASES.items():
        tree.write(name, text)
    _feastignore(tree)


def _ignored_tests(layout: references.Layout, text: str, where: str) -> str:
    """`collect_ignore` names files from the conftest's folder on."""
    folder = where.rpartition("/")[0]
    for old, new in layout.files.items():
        if old.rpartition("/")[0] == folder and new.startswith(f"{folder}/"):
            text = text.replace(f'"{old[len(folder) + 1 :]}"', f'"{new[len(folder) + 1 :]}"')
    return text


def _feastignore(tree: Tree) -> None:
    name = "feature_repo/.feastignore"
    root = tree.root / "feature_repo"
    comment = [line for line in tree.read(name).splitlines() if line.startswith("#")]
    folders = sorted(path.name for path in root.iterdir() if path.is_dir() and (path / "__init__.py").exists())
    modules = sorted(path.name for path in root.glob("*.py") if path.name != "definitions.py")
    tree.write(name, "\n".join([*comment, *folders, *modules]) + "\n")


def breathe(tree: Tree) -> list[str]:
    """Format everything to the width; returns what is still beyond it."""
    names = [name for name in tree.git("ls-files", "-co", "--exclude-standard").splitlines() if name.endswith(".py") and not name.startswith(LEFT_FOLDERS) and (tree.root / name).is_file()]

    def each(*steps: Callable[[str], str]) -> None:
        for name in names:
            text = before = tree.read(name)
            for step in steps:
                text = step(text)
                try:
                    compile(text, name, "exec", dont_inherit=True)
                except SyntaxError as error:
                    raise SystemExit(f"{name}: {step.__name__} broke it: {error}") from error
            if text != before:
                tree.write(name, text)

    def formatted() -> None:
        tree.run_ruff("check", "-q", "--fix", "--select", "I", "--exclude", "scripts/pending", ".")
        done = tree.run_ruff("format", "-q", "--exclude", "scripts/pending", ".")
        if done.returncode:
            raise SystemExit(done.stderr)

    each(air.one_statement_each, air.drop_skips, air.hoist_comments)
    formatted()
    for _ in range(4):
        before = {name: tree.read(name) for name in names}
        each(air.hoist_comments, air.wrap_comments, air.wrap_docstrings, air.split_strings)
        formatted()
        if all(tree.read(name) == text for name, text in before.items()):
            break
    tree.run_ruff("check", "-q", "--fix", "--fixable", "RUF100", "--exclude", "scripts/pending", ".")  # E501 spares a line of one word
    return [f"{name}:{at}" for name in names for at in air.too_long(tree.read(name))]


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", type=Path, required=True, help="checkout in the old layout, with nothing uncommitted")
    parser.add_argument("--commit", action="store_true", help="make the three commits; without it only the final files are left, uncommitted")
    parser.add_argument("--no-format", action="store_true", help="stop behind the references")
    parser.add_argument("--ruff", help="none = TREE/.venv/bin/ruff, else /work/wt/house/.venv/bin/ruff")
    parser.add_argument("--log", type=Path, help="write every reference changed inside a text or string to this file")
    chosen = parser.parse_args()
    root = chosen.tree.resolve()
    own = root / ".venv" / "bin" / "ruff"
    tree = Tree(root, chosen.ruff or str(own if own.exists() else "/work/wt/house/.venv/bin/ruff"))
    if tree.git("status", "--porcelain", "--untracked-files=no"):
        raise SystemExit(f"{root} has uncommitted changes; commit them first")
    layout = layout_of(tree)
    move(tree, layout)
    if chosen.commit:
        tree.commit("refactor(tree): modules and their tests into the folders of the architecture")
    patch(tree, layout, later=False)
    refer(tree, layout)
    if chosen.log:
        chosen.log.write_text("\n".join(layout.log) + "\n", encoding="utf-8")
    tree.run_ruff("check", "-q", "--fix", "--select", "I", "--exclude", "scripts/pending", ".")
    if chosen.commit:
        tree.commit("refactor(tree): references follow the moved modules")
    if chosen.no_format:
        return 0
    patch(tree, layout, later=True)
    long = breathe(tree)
    if chosen.commit:
        tree.commit("style: 110 columns, ruff format everywhere, checked by make lint")
    print(f"{len(layout.files)} files moved, {len(layout.log)} references in texts rewritten, {len(long)} lines beyond {air.WIDTH} columns")
    print("\n".join(long))
    print("\n".join(f"PATCH NOT APPLIED: {line}" for line in layout.missed))
    return 1 if layout.missed else 0


if __name__ == "__main__":
    if sys.version_info[:2] != (3, 11):
        raise SystemExit("run with Python 3.11 (its tokenizer sees an f-string as one token): /work/wt/house/.venv/bin/python")
    sys.exit(main())
