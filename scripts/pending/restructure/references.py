"""Rewrites references (imports, dotted names, paths) from the old layout to the new one. Pure functions of one file's text."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable
from dataclasses import dataclass, field

PKG = r"(?:feature_repo|spark_jobs|streaming|model|dagster_project)"
# Public commands that keep their names.
PUBLIC_COMMANDS = ("model.prepare", "feature_repo.contract.assets")


def dotted(path: str) -> str:
    """Turn a module's path into its dotted name."""
    name = path.removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


@dataclass
class Layout:
    """Old and new names of everything that moves."""

    files: dict[str, str]  # every old path (tests and data too) to its new one
    modules: dict[str, str]  # every old dotted module, those that stay included
    packages: dict[str, str]  # packages moved as a whole
    log: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)  # patches whose text was not there

    def module(self, name: str) -> str:
        """New name of a module or package."""
        return self.modules.get(name) or self.packages.get(name) or name


def import_lines(layout: Layout, module: str, names: list[tuple[str, str | None]]) -> list[str]:
    """Rewrite ``from module import names``; several lines where the names now live apart."""
    homes: dict[str, list[str]] = {}
    for name, alias in names:
        full = f"{module}.{name}"
        if full in layout.modules:
            home, _, leaf = layout.modules[full].rpartition(".")
        elif full in layout.packages:
            home, _, leaf = layout.packages[full].rpartition(".")
        else:
            home, leaf = layout.module(module), name
        local = alias or name
        homes.setdefault(home, []).append(leaf if leaf == local and alias != name else f"{leaf} as {local}")
    return [f"from {home} import {', '.join(words)}" for home, words in sorted(homes.items())]


def _longest(layout: Layout, name: str) -> str:
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        head = ".".join(parts[:size])
        for table in (layout.modules, layout.packages):
            if head in table:
                return ".".join((table[head], *parts[size:]))
    return name


_TEXT = re.compile(
    rf"(?P<import>(?<![\w.])from {PKG}(?:\.\w+)* import \w+(?: as \w+)?(?:, \w+(?: as \w+)?)*)"
    rf"|(?P<dotted>(?<![\w./-]){PKG}(?:\.\w+)+)"
    r"|(?P<path>(?<![\w./-])(?:[\w-]+/)+[\w-]+\.(?:py|html|lua|json))"
    r"|(?P<bare>(?<![\w./-])[a-z_]+\.py\b)"
    rf"|(?P<folder>(?<![\w./-]){PKG}(?:/\w+)+(?![\w./]))"
)


def rewrite_text(layout: Layout, text: str, where: str) -> str:
    """Rewrite every reference in plain text (a string, a comment, a document).

    Parameters
    ----------
    where : str
        Old path of the file, against which bare file names are read.
    """
    folder = where.rpartition("/")[0]

    def one(match: re.Match[str]) -> str:
        old = match.group(0)
        new = _rewritten(layout, match, folder, text)
        if new != old:
            layout.log.append(f"{where}: {old} -> {new}")
        return new

    return _TEXT.sub(one, text)


def _rewritten(layout: Layout, match: re.Match[str], folder: str, text: str) -> str:
    old = match.group(0)
    if match["import"]:
        words = re.fullmatch(r"from (\S+) import (.+)", old)
        assert words
        names = [tuple(part.split(" as ")) if " as " in part else (part, None) for part in words[2].split(", ")]
        return "\n".join(import_lines(layout, words[1], names)) if len(import_lines(layout, words[1], names)) == 1 else _fail(old)
    if match["dotted"]:
        if old in PUBLIC_COMMANDS and text[: match.start()].endswith("-m "):
            return old
        if old.rpartition(".")[2] in ("py", "md", "json", "toml") and old not in layout.modules:
            return old
        return _longest(layout, old)
    if match["path"]:
        return _path(layout, old)
    if match["bare"]:
        new = layout.files.get(f"{folder}/{old}") if folder.split("/")[0] not in ("docs", "tests", "benchmarks") else None
        return new.rpartition("/")[2] if new else old
    return layout.packages[old.replace("/", ".")].replace(".", "/") if old.replace("/", ".") in layout.packages else old


def _fail(text: str) -> str:
    raise SystemExit(f"the imports of one line go to several places, inside a text; edit it first: {text}")


def _path(layout: Layout, old: str) -> str:
    if old in layout.files:
        return layout.files[old]
    ends = [path for path in layout.files if path.endswith("/" + old) and not path.startswith("tests/")]
    if len(ends) == 1:
        prefix = ends[0][: -len(old)]
        new = layout.files[ends[0]]
        if new.startswith(prefix):
            return new[len(prefix) :]
    return old


class Edits:
    """Replacements of spans of one text."""

    def __init__(self, text: str) -> None:
        self.text, self.spans = text, []
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = text.splitlines(keepends=True)

    def at(self, line: int, column: int) -> int:
        """Offset of a position (line from 1, column in characters)."""
        return self._starts[line - 1] + column

    def at_bytes(self, line: int, column: int) -> int:
        """Offset of a position of `ast` (column in bytes of UTF-8)."""
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())

    def replace(self, start: int, end: int, new: str) -> None:
        """Note a replacement."""
        if self.text[start:end] != new:
            self.spans.append((start, end, new))

    def result(self) -> str:
        """Apply all replacements."""
        out, end = [], len(self.text)
        for start, stop, new in sorted(self.spans, reverse=True):
            assert stop <= end, self.text[start:stop]
            out += [self.text[stop:end], new]
            end = start
        return "".join([self.text[:end], *reversed(out)])


def rewrite_python(layout: Layout, text: str, where: str) -> str:
    """Rewrite imports, strings and comments of a Python file; `where` is its old path."""
    edits = Edits(text)
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            _import_from(layout, edits, node, where)
        elif isinstance(node, ast.Import):
            _import(layout, edits, node, where)
        elif isinstance(node, ast.Call):
            _call(layout, edits, node)
    done = [(start, end) for start, end, _ in edits.spans]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            start, end = edits.at(*token.start), edits.at(*token.end)
            if not any(begin < end and start < stop for begin, stop in done):
                edits.replace(start, end, rewrite_text(layout, token.string, where))
    return _depths(layout, edits.result(), where)


def _import_from(layout: Layout, edits: Edits, node: ast.ImportFrom, where: str) -> None:
    module = node.module or ""
    if node.level:
        base = where.split("/")[: -node.level]
        module = ".".join((*base, *(module.split(".") if module else ())))
    if not re.match(rf"{PKG}(\.|$)", module):
        return
    start = edits.at_bytes(node.lineno, node.col_offset)
    end = edits.at_bytes(node.end_lineno or 0, node.end_col_offset or 0)
    names = [(alias.name, alias.asname) for alias in node.names]
    lines = import_lines(layout, module, names)
    home = lines[0].split(" ")[1]
    same = [word.strip() for word in lines[0].split(" import ", 1)[1].split(",")]
    kept = [f"{name} as {alias}" if alias else name for name, alias in names]
    if len(lines) == 1 and same == kept:
        head = re.match(r"from\s+[\w.]+", edits.text[start:end])
        assert head
        edits.replace(start, start + head.end(), f"from {home}")
        return
    segment = edits.text[start:end]
    if "#" in segment:
        raise SystemExit(f"{where}:{node.lineno}: a comment inside an import that must be split; move it first")
    rest = edits.text[end:].split("\n", 1)[0]
    tail = rest if len(lines) > 1 and "noqa" in rest else ""
    indent = " " * node.col_offset
    edits.replace(start, end, f"{tail}\n{indent}".join(lines))


def _import(layout: Layout, edits: Edits, node: ast.Import, where: str) -> None:
    for alias in node.names:
        new = layout.module(alias.name)
        if new == alias.name:
            continue
        if alias.asname is None:
            raise SystemExit(f"{where}:{node.lineno}: 'import {alias.name}' of a module that moves; use from ... import")
        start = edits.at_bytes(alias.lineno, alias.col_offset)
        end = edits.at_bytes(alias.end_lineno or 0, alias.end_col_offset or 0)
        edits.replace(start, end, f"{new} as {alias.asname}")


def _call(layout: Layout, edits: Edits, node: ast.Call) -> None:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    # Step(name, assets, reads, sources, sections, module) and Job(module, help): modules of spark_jobs.
    place: Callable[[], ast.expr | None] = lambda: None
    if name == "Step" and len(node.args) > 5:
        place = lambda: node.args[5]
    elif name == "Job" and node.args:
        place = lambda: node.args[0]
    words = [place(), *(key.value for key in node.keywords if name in ("Step", "Job") and key.arg == "module")]
    for word in words:
        if isinstance(word, ast.Constant) and isinstance(word.value, str) and f"spark_jobs.{word.value}" in layout.modules:
            _constant(edits, word, layout.modules[f"spark_jobs.{word.value}"].removeprefix("spark_jobs."))
    # files("package").joinpath("data file")
    if isinstance(node.func, ast.Attribute) and node.func.attr == "joinpath" and isinstance(node.func.value, ast.Call) and node.args:
        inner, leaf = node.func.value, node.args[0]
        package = inner.args[0] if inner.args else None
        if isinstance(package, ast.Constant) and isinstance(leaf, ast.Constant) and isinstance(package.value, str):
            new = layout.files.get(f"{package.value.replace('.', '/')}/{leaf.value}")
            if new:
                _constant(edits, package, new.rpartition("/")[0].replace("/", "."))


def _constant(edits: Edits, node: ast.Constant, new: str) -> None:
    start = edits.at_bytes(node.lineno, node.col_offset)
    end = edits.at_bytes(node.end_lineno or 0, node.end_col_offset or 0)
    edits.replace(start, end, f'"{new}"')


_HERE = re.compile(r"Path\(__file__\)(?P<resolve>\.resolve\(\))?(?:\.parents\[(?P<n>\d+)\]|(?P<up>(?:\.parent\b)+))")


def _depths(layout: Layout, text: str, where: str) -> str:
    """A file that has moved deeper looks further up for what has stayed."""
    deeper = layout.files.get(where, where).count("/") - where.count("/")

    def one(match: re.Match[str]) -> str:
        up = int(match["n"]) + 1 if match["n"] else match["up"].count(".parent")
        return f"Path(__file__){match['resolve'] or ''}.parents[{up - 1 + deeper}]"

    return _HERE.sub(one, text) if deeper else text
