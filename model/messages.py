"""Errors as the one line that a command line prints. Knows nothing of what went wrong."""

from __future__ import annotations

MOST_CHARACTERS = 1000


def one_line(error: BaseException) -> str:
    r"""Return the first line of an error that says something; its kind where it says nothing.

    Examples
    --------
    >>> one_line(ValueError("\n  two\nlines")), one_line(KeyError("x")), one_line(RuntimeError())
    ('two', "KeyError: 'x'", 'RuntimeError without a message; please report it with the command')
    """
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:MOST_CHARACTERS]
    if not line:
        return f"{type(error).__name__} without a message; please report it with the command"
    return (
        f"{type(error).__name__}: {line}"
        if isinstance(error, KeyError | TypeError | AttributeError | IndexError)
        else line
    )
