"""Finds a usable Java and says clearly when there is none. Starts nothing but `java -version`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

MINIMUM_JAVA = 17  # Spark 4 and Kafka 4 both refuse to start below it
_VERSION_TIMEOUT_SECONDS = 30.0  # a cold JVM on a busy machine answers in about one second


class JavaError(RuntimeError):
    """No usable Java; the text names what was found and what to install."""


def java_major(text: str) -> int | None:
    """Read the major version out of what ``java -version`` printed.

    Parameters
    ----------
    text : str
        Its output.

    Returns
    -------
    int or None
        8, 11, 17, ...; None when the text holds no version.

    Examples
    --------
    >>> (
    ...     java_major('openjdk version "17.0.15" 2025-04-15'),
    ...     java_major('java version "1.8.0_392"'),
    ...     java_major("no"),
    ... )
    (17, 8, None)
    """
    match = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if match is None:
        return None
    first, second = int(match.group(1)), match.group(2)
    return int(second) if first == 1 and second else first


def find_java(java_home: str | None = None) -> Path:
    """Give the path of a Java that is new enough.

    Parameters
    ----------
    java_home : str, optional
        Value of ``JAVA_HOME``, passed by an entry point; none = the ``java`` of the path.

    Returns
    -------
    Path
        The executable.

    Raises
    ------
    JavaError
        There is no java, it does not run, or it is older than 17.
    """
    found = str(Path(java_home) / "bin" / "java") if java_home else shutil.which("java")
    remedy = (
        f"install a Java {MINIMUM_JAVA} or newer runtime (Debian: openjdk-17-jre-headless) and put it first "
        "on PATH"
    )
    if not found:
        raise JavaError(f"java: not found on PATH; {remedy}")
    try:
        done = subprocess.run(
            [found, "-version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JavaError(f"java: '{found}' does not run ({error}); {remedy}") from None
    said = done.stderr + done.stdout
    major = java_major(said)
    if done.returncode != 0 or major is None:
        raise JavaError(
            f"java: '{found} -version' ended with code {done.returncode} and told no version; {remedy}"
        )
    if major < MINIMUM_JAVA:
        raise JavaError(
            f"java: '{found}' is version {major}, but {MINIMUM_JAVA} or newer is needed; {remedy}"
        )
    return Path(found)
