"""What assets are given from outside: the settings, read where Dagster starts. Holds no state."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
from pydantic import Field

from feature_repo.contract.settings import Settings, load_settings


class SettingsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The settings of the system; ``INTENTSTORE_*`` variables of the process go before the file.

    Examples
    --------
    >>> SettingsResource(config="/dev/null", home="/tmp/x").load().lake.as_posix()
    '/tmp/x/lake'
    """

    config: str | None = Field(
        default=None, description="Settings file; none = intentstore.toml of the working folder."
    )
    home: str | None = Field(
        default=None, description="Folder of everything made at run time; none = as the settings say."
    )
    spark_master: str | None = Field(
        default=None, description="Spark master of the batch jobs; none = as the settings say."
    )

    def overrides(self) -> dict[str, str]:
        """Return what this resource sets itself, as dotted keys."""
        given = {"home": self.home, "spark.master": self.spark_master}
        return {key: value for key, value in given.items() if value is not None}

    def load(self) -> Settings:
        """Read the settings.

        Returns
        -------
        Settings
            With an absolute home.

        Raises
        ------
        SettingsError
            A file or variable that cannot be used; names it.
        """
        return load_settings(Path(self.config) if self.config else None, os.environ, self.overrides())
