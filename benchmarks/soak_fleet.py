"""The consumer processes of the soak: started, killed, asked to end, and robbed of their disks."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from feature_repo.contract.settings import Settings
from streaming.topics import ensure as topics
from streaming.topics.lag import measure

ROOT = Path(__file__).resolve().parent.parent
DRAIN_SECONDS = 120.0  # without a commit that moved
PATIENCE_SECONDS = 300.0  # a bound against hanging for ever
RESTORE_SECONDS = 0.2  # within so long after its partitions came a consumer without state is ended
CAUGHT_UP = 200  # clicks behind: a second's worth
# the consumer that is to be met while it restores takes few records at a time
SLOWLY = {"INTENTSTORE_STREAMING__MAX_RECORDS": "5"}


def wait_until(check: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Ask now and then until it is true.

    Raises
    ------
    AssertionError
        It was not, for so long.
    """
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@dataclass
class Fleet:
    """Consumer processes by name; each is started again when it was killed, and none is killed before it
    holds partitions.
    """

    settings: Settings
    model: Path | None
    own_state: bool = False
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    crashed: int = 0  # ended without being asked to
    killed_restoring: int = 0  # ended in the middle of a restore
    began: dict[str, int] = field(default_factory=dict)  # where the log of the present process begins
    environment: Mapping[str, str] = field(default_factory=dict)  # settings beside the home's

    def folder(self, name: str) -> Path:
        """Where a consumer's stores are."""
        return self.settings.home / f"state-{name}" if self.own_state else self.settings.state_dir

    def folders(self) -> list[Path]:
        """Every state folder that was used."""
        return sorted({self.folder(name) for name in self.began})

    def start(self, name: str, *more: str, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        """Start a consumer with this static id, more words of the command line and more settings."""
        command = [
            sys.executable,
            "-m",
            "streaming",
            "consume",
            "--instance-id",
            name,
            "--state-dir",
            str(self.folder(name)),
            *more,
        ]
        command += ["--model", str(self.model)] if self.model else []
        environment = {
            **os.environ,
            "INTENTSTORE_HOME": str(self.settings.home),
            "INTENTSTORE_ASSETS": str(self.settings.assets_dir),
            **self.environment,
            **environment,
        }
        with self._log(name).open("ab") as out:
            self.began[name] = out.tell()
            self.running[name] = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
            )

    def _log(self, name: str) -> Path:
        return self.settings.home / f"consumer-{name}.log"

    def said(self, name: str) -> str:
        """Give what the present process of a consumer has logged."""
        with self._log(name).open("rb") as file:
            file.seek(self.began[name])
            return file.read().decode(errors="replace")

    def hold(self, name: str) -> None:
        """Wait until a consumer holds partitions, unless another has them all."""
        whole, others = (
            topics.layout(self.settings).partitions,
            [other for other in self.running if other != name],
        )
        wait_until(
            lambda: (
                self.running[name].poll() is not None
                or self.held(name) > 0
                or any(self.held(other) == whole for other in others)
            )
        )

    def held(self, name: str) -> int:
        """Give how many partitions a consumer holds, by its log."""
        text = self.said(name)
        return len(re.findall(r" comes: Plan", text)) - len(
            re.findall(r"-\d+ (?:revoked|lost|closed) at offset", text)
        )

    def kill(self, name: str) -> None:
        """Kill -9 and start again."""
        self.hold(name)
        process = self.running[name]
        self.crashed += process.poll() is not None
        process.kill()
        process.wait()
        self.count_restore(name)
        self.start(name)

    def count_restore(self, name: str) -> None:
        """Count a process that has ended in the middle of a restore."""
        self.killed_restoring += self.restoring(name)

    def restoring(self, name: str) -> bool:
        """Whether the present process of a consumer began to restore and is not through, by its log."""
        said = self.said(name)
        plans = re.finditer(r"Plan\(position=(\d+), answer_from=(\d+)", said)
        begun = [found.end() for found in plans if int(found[1]) < int(found[2])]
        return bool(begun) and "all partitions answer again" not in said[begun[-1] :]

    def lose(self, name: str, dice: random.Random) -> None:
        """Take a consumer's disk away when it has answered what there is, let it begin to fold the topic
        again, end it on the way there, and start it again.
        """
        self.hold(name)
        wait_until(lambda: measure(self.settings).total < CAUGHT_UP)
        self.stop(name)
        shutil.rmtree(self.folder(name), ignore_errors=True)
        self.start(name, environment=SLOWLY)
        self.hold(name)
        time.sleep(dice.random() * RESTORE_SECONDS)
        if dice.random() < 0.5:
            self.kill(name)
        else:
            self.stop(name)
            self.start(name)

    def stop(self, name: str) -> int:
        """Ask a consumer to end; gives its exit code."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            self.count_restore(name)
