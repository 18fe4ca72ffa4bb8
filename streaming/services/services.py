"""Starts and stops the embedded Kafka broker and valkey below HOME/services. Real processes; nothing here
knows of clicks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from feature_repo.contract.addresses import shown
from feature_repo.contract.endpoints import endpoints_file
from feature_repo.contract.files import only_one, replacing
from feature_repo.contract.settings import Settings
from streaming.services import kafka as embedded_kafka
from streaming.services import processes
from streaming.services import valkey as embedded_valkey
from streaming.services.processes import ServiceError

__all__ = ["ServiceError", "Services", "down", "running", "up"]


@dataclass(frozen=True)
class Services:
    """Where the services are, and their processes (None = not ours: the settings name another)."""

    bootstrap_servers: str
    online_store_url: str
    pids: dict[str, int | None]

    def to_json(self) -> str:
        """Give the line that ``up --json`` prints of what is `shown`."""
        return json.dumps(asdict(self))

    def shown(self) -> Services:
        """Give the same with addresses as they may be printed: whose are not ours may hold a password."""
        return replace(
            self,
            bootstrap_servers=shown(self.bootstrap_servers),
            online_store_url=shown(self.online_store_url),
        )


def up(settings: Settings) -> Services:
    """Start what does not run yet, and wait until both answer a real request.

    Parameters
    ----------
    settings : Settings
        ``home`` (data under ``home/services``), ``assets`` (jars); services whose address is set
        (``kafka.bootstrap_servers``, ``online.url``) are not started.

    Returns
    -------
    Services
        Addresses and pids; calling it again changes nothing while both run.

    Raises
    ------
    ServiceError
        One does not start; names its log.
    AssetError, JavaError
        The jars are not to be had, or there is no Java 17.
    """
    folder = settings.home / "services"
    with only_one(folder / ".lock"):
        if settings.kafka.bootstrap_servers:
            bootstrap, broker_pid = settings.kafka.bootstrap_servers, None
        else:
            bootstrap, broker_pid = embedded_kafka.start(settings, folder / "kafka")
        if settings.online.url is not None:
            url, valkey_pid = settings.online.url.get_secret_value(), None
        else:
            url, valkey_pid = embedded_valkey.start(folder / "valkey")
        services = Services(bootstrap, url, {"broker": broker_pid, "valkey": valkey_pid})
        file = endpoints_file(settings)
        with replacing(file) as part:
            part.touch(0o600)  # a configured address may hold a password
            part.write_text(services.to_json(), encoding="utf-8")
    return services


def running(settings: Settings) -> Services | None:
    """Tell what ``up`` started and still runs; None when a process of it is gone. Asks the processes, not the
    ports.
    """
    folder = settings.home / "services"
    try:
        services = Services(**json.loads(endpoints_file(settings).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    for name, pid in services.pids.items():
        record = processes.load(folder / ("kafka" if name == "broker" else name) / "process.json")
        if pid is not None and (record is None or record.pid != pid):
            return None
    return services


def down(settings: Settings) -> list[str]:
    """Stop what was started below this home, whoever started it; data stays.

    Returns
    -------
    list of str
        Names of the services that were stopped; empty when nothing ran.
    """
    folder = settings.home / "services"
    if not folder.is_dir():
        return []
    stopped = []
    with only_one(folder / ".lock"):
        for name in ("kafka", "valkey"):
            config = folder / name / ("server.properties" if name == "kafka" else "valkey.conf")
            known = processes.load(folder / name / "process.json")
            found = {
                record.pid: record
                for record in (*processes.by_argument(str(config)), *((known,) if known else ()))
            }
            for record in found.values():
                processes.stop(record)
                stopped.append(name)
            (folder / name / "process.json").unlink(missing_ok=True)
        endpoints_file(settings).unlink(missing_ok=True)
    return stopped
