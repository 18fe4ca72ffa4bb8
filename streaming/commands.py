"""What each word of the command line does. Takes settings; prints for people or one JSON line for
programs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from types import SimpleNamespace as Options
from typing import TYPE_CHECKING, Any

from feature_repo.contract import cli
from feature_repo.contract.assets.fetch import AssetError
from feature_repo.contract.assets.java import JavaError
from feature_repo.contract.endpoints import EndpointError
from feature_repo.contract.lazy import lazy
from feature_repo.contract.settings import Settings
from feature_repo.stores.packed.refusals import OnlineStoreError
from streaming.errors import StreamingError
from streaming.services import services as broker
from streaming.services.processes import ServiceError
from streaming.topics import dead_letters as dlq
from streaming.topics import lag as lags

if TYPE_CHECKING:
    from streaming.consumer import app as run
    from streaming.http import serve as http
    from streaming.intents import worker as near_line
else:
    run = lazy("streaming.consumer.app")
    http = lazy("streaming.http.serve")
    near_line = lazy("streaming.intents.worker")

EXPECTED_ERRORS = (ServiceError, AssetError, JavaError, EndpointError, StreamingError, OnlineStoreError)


def guarded(run: Callable[[Settings, Options], int], settings: Settings, **options: Any) -> int:
    """Run a command of this file; what may be expected to fail ends with its one line.

    Raises
    ------
    cli.VerbError
        With that line.
    """
    try:
        return run(settings, Options(**options))
    except EXPECTED_ERRORS as error:
        raise cli.VerbError(str(error)) from None


def up(settings: Settings, options: Options) -> int:
    """Start the embedded services and print where they are."""
    services = broker.up(settings).shown()
    if options.json:
        print(services.to_json())
    else:
        print(f"broker  {services.bootstrap_servers}  pid {services.pids['broker'] or '(not ours)'}")
        print(f"valkey  {services.online_store_url}  pid {services.pids['valkey'] or '(not ours)'}")
    return 0


def down(settings: Settings, options: Options) -> int:
    """Stop the embedded services."""
    stopped = broker.down(settings)
    text = f"stopped: {', '.join(stopped)}" if stopped else "nothing was running"
    cli.show({"stopped": list(stopped)}, text, options.json)
    return 0


def consume(settings: Settings, options: Options) -> int:
    """Run the consumer until it is told to stop, or idle."""
    return run.main(
        settings,
        model_dir=options.model,
        shadow_dir=options.shadow_model,
        until_idle_seconds=options.until_idle,
        accept_loss=options.accept_loss,
    )


def repartition(settings: Settings, options: Options) -> int:
    """Move states to where their keys go after partitions were added."""
    moved = run.move(settings, model_dir=options.model)
    cli.show(moved._asdict(), moved.to_line(), options.json)
    return 0


def serve(settings: Settings, options: Options) -> int:
    """Run the HTTP side."""
    return http.main(settings, model_dir=options.model)


def dlq_list(settings: Settings, options: Options) -> int:
    """Show dead letters."""
    foreign = 0
    for letter in dlq.read(settings, reason=options.reason, limit=options.limit):
        foreign += letter.reason == dlq.FOREIGN
        print(letter.to_json() if options.json else letter.to_line())
    if foreign:
        where = settings.kafka.dead_letter_topic
        print(
            (
                f"{foreign} of these are foreign: records of '{where}' that are no dead letters of "
                f"'{settings.kafka.clicks_topic}' or '{settings.kafka.items_topic}'"
            ),
            file=sys.stderr,
        )
    return 0


def dlq_redrive(settings: Settings, options: Options) -> int:
    """Send dead letters that are valid now back to the clicks topic."""
    outcome = dlq.redrive(settings, reason=options.reason, rekey=options.rekey, dry_run=options.dry_run)
    cli.show(asdict(outcome), outcome.to_line(), getattr(options, "json", False))
    return 0


def lag(settings: Settings, options: Options) -> int:
    """Show how far the group is behind."""
    report = lags.measure(settings)
    print(report.to_json() if options.json else report.to_table())
    return 0


def intents(settings: Settings, options: Options) -> int:
    """Run the near-line intent worker."""
    return near_line.main(settings, until_idle_seconds=options.until_idle, max_calls=options.max_calls)
