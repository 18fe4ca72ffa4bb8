"""Fetches pinned jars through the Ivy that pyspark ships. Knows no repository: Ivy's own default resolver
does.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from feature_repo.contract.addresses import without_addresses
from feature_repo.contract.assets.java import find_java

log = logging.getLogger("intentstore.assets")
IVY_TIMEOUT_SECONDS = 900.0  # 40 MB; the slowest network seen took a tenth of this

# Plain jars by exact name and hash: no metadata is resolved, which makes the fetch five times faster and the
# result the same for ever.
_SETTINGS = """<ivysettings><settings defaultResolver="pinned"/><resolvers>
<ibiblio name="pinned" m2compatible="true" usepoms="false"/></resolvers></ivysettings>
"""
_MODULE = """<ivy-module version="2.0"><info organisation="intentstore" module="jars"/><configurations><conf name="default"/></configurations>
<dependencies>
{dependencies}
</dependencies></ivy-module>
"""  # noqa: E501


class JarError(RuntimeError):
    """The jars could not be fetched; the text says why and what to do."""


@dataclass(frozen=True)
class Jar:
    """One pinned jar."""

    org: str
    name: str
    rev: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name it is kept under."""
        return f"{self.name}-{self.rev}.jar"


def pyspark_jars() -> Path:
    """Folder of pyspark's own jars (Ivy is among them), found without importing pyspark.

    Raises
    ------
    JarError
        If pyspark is not installed.
    """
    spec = importlib.util.find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        raise JarError(
            "pyspark is not installed in this environment, and its Ivy fetches the jars; run `make setup`"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "jars"


def retrieve(jars: list[Jar], cache: Path, target: Path, java: Path | None = None) -> None:
    """Fetch jars into a folder; what an interrupted call had finished is kept in ``cache`` and not fetched
    again.

    Parameters
    ----------
    jars : list of Jar
        What to fetch; the caller checks the hashes.
    cache : Path
        Ivy's cache, kept between calls.
    target : Path
        Folder that gets the files.
    java : Path, optional
        Executable; none = the first on PATH.

    Raises
    ------
    JarError
        Ivy failed; the text holds its first complaints.
    JavaError
        No usable Java.
    """
    java = java or find_java()
    cache.mkdir(parents=True, exist_ok=True)
    lines = (
        (
            f"<dependency org={quoteattr(j.org)} name={quoteattr(j.name)} rev={quoteattr(j.rev)} "
            "transitive='false' conf='default->default'/>"
        )
        for j in jars
    )
    (cache / "ivysettings.xml").write_text(_SETTINGS, encoding="utf-8")
    (cache / "ivy.xml").write_text(_MODULE.format(dependencies="\n".join(lines)), encoding="utf-8")
    command = [
        str(java),
        f"-Divy.default.ivy.user.dir={cache / 'user'}",
        "-cp",
        f"{pyspark_jars()}/*",
        "org.apache.ivy.Main",
        "-settings",
        str(cache / "ivysettings.xml"),
        "-cache",
        str(cache / "files"),
        "-ivy",
        str(cache / "ivy.xml"),
        "-retrieve",
        f"{target}/[artifact]-[revision].[ext]",
        "-types",
        "jar",
        "bundle",
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=IVY_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise JarError(
            f"jars: no end after {IVY_TIMEOUT_SECONDS:.0f} s; check the network and run it again, finished "
            "jars are kept"
        ) from None
    (cache / "ivy.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode != 0:
        raise JarError(
            f"jars: Ivy ended with code {done.returncode} ({_complaints(done.stdout + done.stderr)}); check "
            "the network and run it again"
        )


def _complaints(text: str) -> str:
    wanted = [
        without_addresses(line.strip())
        for line in text.splitlines()
        if "UNRESOLVED" in line or "FAILED" in line or "ERROR" in line or "UnknownHost" in line
    ]
    return "; ".join(wanted[:2]) or "no reason told"
