"""One line of an error for the command line. Knows nothing of the commands."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    r"""Write an error as one line that is never empty.

    Our own errors are one line with a remedy; torch and the system may give several, of which the first with words says what happened.

    Examples
    --------
    >>> one_line(ValueError("\n\nsize mismatch\nat ...")), one_line(RuntimeError())
    ('size mismatch', 'RuntimeError without a word of what happened')
    """
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return first or f"{type(error).__name__} without a word of what happened"
