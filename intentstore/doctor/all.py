"""The checks in the order in which a user meets what they look at."""

from __future__ import annotations

from feature_repo.contract.settings import Settings
from intentstore.doctor import home, machine, services
from intentstore.doctor.check import Check, Look, run

LOOKS: tuple[tuple[str, Look], ...] = (
    ("python", machine.python),
    ("packages", machine.packages),
    ("java", machine.java),
    ("disk", machine.disk),
    ("memory", machine.memory),
    ("ports", machine.ports),
    ("assets", home.assets),
    ("dataset", home.dataset),
    ("broker", services.broker),
    ("online store", services.online_store),
    ("tables", home.tables),
    ("registry", home.registry),
    ("model", home.model),
    ("kernels", home.kernels),
    ("encoder", home.encoder),
    ("endpoint", services.endpoint),
)


def examine(settings: Settings) -> list[Check]:
    """Run every check; none changes anything, each gives up within seconds.

    Parameters
    ----------
    settings : Settings
    """
    return run(LOOKS, settings)
