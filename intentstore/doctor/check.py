"""What a check says, and how checks are run: none may end the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from feature_repo.contract import cli
from feature_repo.contract.settings import Settings

State = Literal["ok", "warning", "error"]
MOST_CHARACTERS = 400


@dataclass(frozen=True)
class Check:
    """One line of the doctor.

    Attributes
    ----------
    name : str
        What was looked at.
    state : str
        ok; warning = something does not run, or not yet; error = it is broken.
    text : str
        What was found.
    remedy : str
        What to do; empty where all is well.
    """

    name: str
    state: State
    text: str
    remedy: str = ""

    def to_line(self) -> str:
        """Say it in one line."""
        return f"{self.state:7}  {self.name}: {self.text}" + (f"; {self.remedy}" if self.remedy else "")

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return asdict(self)


Look = Callable[[Settings], Check]


def said(error: BaseException) -> tuple[str, str]:
    """Split an error of ours into what was found and the remedy behind the first semicolon."""
    line = " ".join(str(error).split())[:MOST_CHARACTERS] or type(error).__name__
    text, _, remedy = line.partition("; ")
    return text, remedy


def run(looks: Sequence[tuple[str, Look]], settings: Settings) -> list[Check]:
    """Run checks in their order.

    Parameters
    ----------
    looks : sequence of (name, function)
    settings : Settings

    Returns
    -------
    list of Check
        One each; a check that itself fails is an error that says how, one that lacks a package a warning that
        names the extra.
    """
    found = []
    for name, look in looks:
        try:
            found.append(look(settings))
        except ModuleNotFoundError as error:
            text, remedy = said(Exception(_missing(error)))
            found.append(Check(name, "warning", text, remedy))
        except Exception as error:  # noqa: BLE001 - the next check is still of use
            text, remedy = said(error)
            found.append(Check(name, "error", text, remedy))
    return found


def _missing(error: ModuleNotFoundError) -> str:
    try:
        return cli.missing(error)
    except ModuleNotFoundError:
        return str(error)
