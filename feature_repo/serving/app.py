"""`python -m feature_repo serve`: Feast's own HTTP server behind the gate, with workers that neither restart
nor pause for garbage.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.contract.settings import Settings
from feature_repo.feast_import import import_feast
from feature_repo.registry.store import applied_store
from feature_repo.serving.access import Gate, read_grants
from feature_repo.serving.nearest import PLACES, Neighbourhood
from feature_repo.serving.reads import STATUS_OF_ERROR, ServiceReads
from feature_repo.serving.tokens import TokenGate

if TYPE_CHECKING:
    from feast import FeatureStore

MAX_REQUESTS = 10_000_000  # Feast's default of 1000 stalls every thousandth request for more than a second
MAX_ENTITIES = 10_000
MAX_NEIGHBOURS = 1_000
REGISTRY_SECONDS = 60


@dataclass(frozen=True)
class ServeOptions:
    """Flags of the command.

    Attributes
    ----------
    host, port : str, int
    workers : int
    access : Path
        File of tokens and rights (`access.read_grants`).
    allow_writes : bool
        Whether tokens with the right to write may; closed by default.
    """

    host: str
    port: int
    workers: int
    access: Path
    allow_writes: bool = False


def build_app(settings: Settings, options: ServeOptions, store: FeatureStore | None = None) -> Any:
    """Make the ASGI application: Feast's, our errors, ``/nearest``, whole services read without messages, and
    the gate in front.

    Without a store it is over the home's own.

    Raises
    ------
    AccessError
        No usable access file.
    RegistryError
        The home's definitions were never applied.
    """
    import_feast()
    from feast.feature_server import get_app
    from feast.permissions.server.utils import (
        AuthManagerType,
        ServerType,
        init_auth_manager,
        init_security_manager,
    )

    tokens = TokenGate(read_grants(options.access), "one that `python -m feature_repo token` made")
    store = store or applied_store(settings)
    # Feast's own checks are off: the gate has made them
    init_security_manager(auth_type=AuthManagerType.NONE, fs=store)
    init_auth_manager(
        auth_type=AuthManagerType.NONE, server_type=ServerType.REST, auth_config=store.config.auth_config
    )
    app = get_app(store, REGISTRY_SECONDS)
    _clear_errors(app)
    _add_nearest(app, store, settings)
    return Gate(
        ServiceReads(app, store, REGISTRY_SECONDS),
        tokens,
        max_body_bytes=settings.http.max_body_bytes,
        max_entities=MAX_ENTITIES,
        allow_writes=options.allow_writes,
    )


def serve(settings: Settings, options: ServeOptions, store: FeatureStore | None = None) -> None:
    """Serve until told to stop (SIGTERM, Ctrl-C)."""
    from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

    application = build_app(settings, options, store)

    class Server(BaseApplication):  # type: ignore[misc,unused-ignore]
        def load_config(self) -> None:
            chosen = {
                "bind": f"{options.host}:{options.port}",
                "workers": options.workers,
                "worker_class": "uvicorn_worker.UvicornWorker",
                "max_requests": MAX_REQUESTS,
                "accesslog": None,
                "keepalive": 30,
                "control_socket_disable": True,
                "post_worker_init": _freeze,
            }
            for name, value in chosen.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return application

    Server().run()


def _freeze(worker: Any) -> None:
    """Take everything loaded so far out of garbage collection: generation-2 sweeps cost 100 ms at the 99th
    percentile.
    """
    gc.collect()
    gc.freeze()


def _clear_errors(app: Any) -> None:
    from fastapi.responses import JSONResponse
    from feast.errors import FeastObjectNotFoundException

    def answer(status: int) -> Any:
        async def handler(request: Any, error: Exception) -> JSONResponse:
            return JSONResponse({"detail": str(error)}, status_code=status)

        return handler

    for kind, status in (
        *STATUS_OF_ERROR,
        (FeastObjectNotFoundException, 404),
        (KeyError, 422),
        (ValueError, 422),
    ):
        app.add_exception_handler(kind, answer(status))


def _add_nearest(app: Any, store: FeatureStore, settings: Settings) -> None:
    from pydantic import BaseModel, ConfigDict, Field

    class Nearest(BaseModel):
        model_config = ConfigDict(extra="forbid")

        text: str | None = None
        vector: list[float] | None = None
        k: int = Field(default=10, ge=1, le=MAX_NEIGHBOURS)
        of: str = "items"
        words: str | None = None
        category: str | None = None
        among: list[str] | None = None

    neighbourhood = Neighbourhood(settings, store)

    def nearest(request: Nearest) -> dict[str, Any]:
        query = request.text if request.vector is None else request.vector
        if query is None or (request.text is not None and request.vector is not None):
            raise ValueError("give either a text or a vector")
        filters = {"words": request.words, "category": request.category, "among": request.among}
        # an unknown kind is refused in words
        found = neighbourhood.nearest(query, request.k, of=request.of, **filters)  # type: ignore[arg-type]
        return {
            request.of: [
                {PLACES[request.of].key: neighbour.key, "cosine": neighbour.cosine} for neighbour in found
            ]
        }

    nearest.__annotations__["request"] = Nearest  # a local class: FastAPI cannot find it by name
    app.post("/nearest")(nearest)
