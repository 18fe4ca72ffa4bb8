"""The embedded Kafka broker: one process that is broker and controller (KRaft). Configuration, format, start
and readiness.
"""

from __future__ import annotations

import base64
import logging
import subprocess
import uuid
from pathlib import Path

from feature_repo.contract.assets import fetch as assets
from feature_repo.contract.assets.java import find_java
from feature_repo.contract.endpoints import security_options
from feature_repo.contract.settings import KafkaSettings, Settings
from streaming.services import processes
from streaming.services.processes import ServiceError

log = logging.getLogger("intentstore.services")
READY_SECONDS = 90.0  # 3 s alone; a busy two-core machine that also recovers logs has needed 25
FORMAT_SECONDS = 60.0
_ATTEMPTS = 3  # somebody may take a free port between our look and the broker's
# room for a poison record of 1 MB and its batch overhead, so that it reaches the dead letters
MAX_RECORD_BYTES = 4 << 20

# Static voters, so that the ports may change between two starts over the same data.
_CONFIG = """# written by `python -m streaming up`
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=CLIENT://127.0.0.1:{port}
inter.broker.listener.name=CLIENT
listener.security.protocol.map=CLIENT:{protocol},CONTROLLER:PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
background.threads=2
log.cleaner.dedupe.buffer.size=8388608
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
message.max.bytes={max_bytes}
replica.fetch.max.bytes={max_bytes}
"""
_SASL = """sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
username="{user}" password="{password}" user_{user}="{password}";
"""


def start(settings: Settings, folder: Path) -> tuple[str, int]:
    """Start the broker, or find the one that runs.

    Parameters
    ----------
    settings : Settings
        ``assets_dir`` (jars) and ``kafka`` (with SASL_PLAINTEXT the broker asks for that user and password).
    folder : Path
        Its own folder: configuration, log, data.

    Returns
    -------
    tuple of (str, int)
        Bootstrap servers and pid.

    Raises
    ------
    ServiceError
        It does not answer in time; names its log.
    AssetError, JavaError
        No jars, or no Java 17.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, record_file, log_file = (
        folder / "server.properties",
        folder / "process.json",
        folder / "broker.log",
    )
    ports = _configured_ports(config)
    for record in processes.by_argument(str(config)):
        if ports and _ready(settings, ports[0], record):
            processes.save(record_file, record)
            return f"127.0.0.1:{ports[0]}", record.pid
        processes.stop(record)
    java, jars = find_java(), assets.fetch("kafka", settings.assets_dir)
    for _ in range(_ATTEMPTS):
        if ports is None or not all(processes.port_is_free(port) for port in ports):
            ports = (processes.free_port(), processes.free_port())
        _write_config(settings.kafka, folder, config, ports)
        _format(java, jars, folder, config)
        log.info("starting the Kafka broker on 127.0.0.1:%d", ports[0])
        record = processes.spawn(_command(java, jars, config), folder, log_file)
        processes.save(record_file, record)
        if _ready(settings, ports[0], record):
            return f"127.0.0.1:{ports[0]}", record.pid
        processes.stop(record)
        ports = None
    raise ServiceError(
        f"broker: no answer within {READY_SECONDS:.0f} s; its log '{log_file}' says why, `python -m "
        "streaming down` clears up"
    )


def answers(kafka: KafkaSettings, port: int) -> bool:
    """Whether the broker on this port of 127.0.0.1 answers a metadata request of an ordinary client."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        admin = KafkaAdminClient(
            bootstrap_servers=f"127.0.0.1:{port}",
            request_timeout_ms=3000,
            bootstrap_timeout_ms=3000,
            **security_options(kafka),
        )
    except (KafkaError, OSError):
        return False
    try:
        admin.list_topics()
    except (KafkaError, OSError):
        return False
    finally:
        admin.close()
    return True


def _ready(settings: Settings, port: int, record: processes.ProcessRecord) -> bool:
    def ready() -> bool:
        return not processes.port_is_free(port) and answers(settings.kafka, port)

    return processes.wait_until(ready, READY_SECONDS, record.alive)


def _command(java: Path, jars: Path, config: Path) -> list[str]:
    quiet = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    memory = ["-Xms128m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]
    return [str(java), *memory, *quiet, "-cp", f"{jars}/*", "kafka.Kafka", str(config)]


def _write_config(kafka: KafkaSettings, folder: Path, config: Path, ports: tuple[int, int]) -> None:
    secured = kafka.security_protocol == "SASL_PLAINTEXT"
    if kafka.security_protocol not in ("PLAINTEXT", "SASL_PLAINTEXT"):
        raise ServiceError(
            f"kafka.security_protocol = {kafka.security_protocol}: the embedded broker has no certificates; "
            "set kafka.bootstrap_servers"
        )
    text = _CONFIG.format(
        port=ports[0],
        controller_port=ports[1],
        folder=folder,
        max_bytes=MAX_RECORD_BYTES,
        protocol=kafka.security_protocol,
    )
    if secured:
        user, password = (
            kafka.sasl_username or "",
            kafka.sasl_password.get_secret_value() if kafka.sasl_password else "",
        )
        if not user.isalnum() or not password or any(letter in password for letter in '"\\\n'):
            raise ServiceError(
                "kafka.sasl_username must be letters and digits and kafka.sasl_password must be set, "
                "without quotes, for the embedded broker"
            )
        text += _SASL.format(user=user, password=password)
    config.touch(mode=0o600)
    config.write_text(text, encoding="utf-8")


def _format(java: Path, jars: Path, folder: Path, config: Path) -> None:
    """Lay out an empty data folder; one that is laid out already stays as it is."""
    if (folder / "data" / "meta.properties").is_file():
        return
    # One id in 64 begins with a dash; attached to its option it cannot be taken for another one.
    chosen = ["--ignore-formatted", f"--cluster-id={_cluster_id()}", f"--config={config}"]
    command = [str(java), "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format", *chosen]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ServiceError(
            f"broker: laying out '{folder / 'data'}' did not end in {FORMAT_SECONDS:.0f} s; try again on a "
            "quieter machine"
        ) from None
    if done.returncode != 0:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise ServiceError(
            f"broker: '{folder / 'data'}' cannot be laid out ({''.join(last)}); delete that folder and try "
            "again"
        )


def _cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _configured_ports(config: Path) -> tuple[int, int] | None:
    try:
        lines = config.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    try:
        client, controller = values["listeners"].split(",")
        return int(client.rsplit(":", 1)[1]), int(controller.rsplit(":", 1)[1])
    except (KeyError, ValueError):
        return None
