"""Which code an outcome rests on: the hash of a module's own import closure, computed and never listed.
Imports nothing of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("feature_repo", "spark_jobs", "streaming", "model", "dagster_project")
DATA_SUFFIXES = frozenset({".html", ".json", ".lua", ".toml", ".yaml"})  # read by the modules of their folder
# Import statements are found by their form, not by a parser: parsing this tree takes 0.5 s of each process
# that loads the definitions, this 0.02 s. A line of a docstring that happens to have the form adds a module,
# never hides one.
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]+)|import[ \t]+([\w.]+))", re.MULTILINE
)
_TYPES_ONLY = re.compile(r"^([ \t]*)if TYPE_CHECKING:\n(?:\1[ \t]+[^\n]*\n|[ \t]*\n)+", re.MULTILINE)
# Modules that are imported by a name in quotes, as `import_module` and Feast's configuration do, and programs
# run by `python -m`.
_NAMED = re.compile(rf"""["']((?:{"|".join(PACKAGES)})(?:\.\w+)+)["']""")
_EVERY = re.compile(r"""import_module\(f["']([\w.]+)\.\{""")  # any module of a package, chosen at run time
_RUN = re.compile(rf"""["']-m["'],\s*["']((?:{"|".join(PACKAGES)})(?:\.\w+)*)["']""")


def code_version(*modules: str) -> str:
    """Hash the source of modules and of all that they import of this project, directly or not.

    Parameters
    ----------
    *modules : str
        Full names, such as ``spark_jobs.ingest.job``.

    Returns
    -------
    str
        12 hexadecimal digits; another edit anywhere in the closure gives others, one outside of it the same.

    Raises
    ------
    ModuleNotFoundError
        A name is no module of this project.
    """
    digest = hashlib.sha256()
    for file in sources(*modules):
        digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def sources(*modules: str) -> list[Path]:
    """List the files of the import closure of modules, sorted, with the data files that stand beside them.

    Parameters
    ----------
    *modules : str
        Full names.

    Raises
    ------
    ModuleNotFoundError
        A name is no module of this project.
    """
    waiting = list(modules)
    for module in waiting:
        if _file_of(module) is None:
            raise ModuleNotFoundError(
                f"'{module}' is no module below '{ROOT}'; name one of its packages' modules in full"
            )
    closure: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module not in closure:
            closure.add(module)
            waiting.extend(_imports(module))
    files = {file for module in closure if (file := _file_of(module)) is not None}
    folders = {file.parent for file in files}
    beside = {file for folder in folders for file in _data_files(folder)}
    return sorted(files | beside)


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Modules of this project that a module imports when it or a function of it runs, its parent packages
    among them.
    """
    file = _file_of(module)
    if file is None:
        return ()
    text = _TYPES_ONLY.sub("", file.read_text(encoding="utf-8"))
    names = {name for statement in _IMPORT.finditer(text) for name in _candidates(*statement.groups())}
    for name in _NAMED.findall(text):
        names.update((name, name.rpartition(".")[0]))  # a class is named with its module
    names.update(f"{name}.__main__" for name in _RUN.findall(text))
    for package in _EVERY.findall(text):
        files = (file.relative_to(ROOT) for file in ROOT.joinpath(*package.split(".")).rglob("*.py"))
        names.update(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files)
    names.add(module.rpartition(".")[0])
    return tuple(
        sorted(name for name in names if name.split(".")[0] in PACKAGES and _file_of(name) is not None)
    )


def _candidates(origin: str | None, imported: str | None, plain: str | None) -> Iterator[str]:
    if plain is not None:
        yield plain
    if origin is not None and imported is not None:
        yield origin
        for name in re.sub(r"#[^\n]*", "", imported.strip("()")).split(","):
            yield f"{origin}.{name.split()[0]}" if name.split() else origin


@cache
def _file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    found = (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())
    return next(found, None) if module else None


@cache
def _data_files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(file for file in folder.iterdir() if file.suffix in DATA_SUFFIXES and folder != ROOT))
