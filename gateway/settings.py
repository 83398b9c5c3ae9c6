"""Every setting, declared once.

`load()` reads a TOML file and overlays the environment: `TUNEWAY_DATABASE__URL` sets `database.url`. An unknown name or
a wrong type is an error that names its path. Nothing else in the service reads the environment, and there is no global
settings object: `load()` is called in `deploy/` and the result is passed down, so that a test builds its own.
`deploy/tuneway.example.toml` is generated from this module (`make example-settings`), and a test compares the two.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from gateway.alert_settings import AlertSettings
from gateway.cache_settings import CacheSettings
from gateway.kit.money import MAX_PRICE_USD, nano_from_usd
from gateway.kit.postgres_url import connect_arguments
from gateway.kit.sealing import read_keys
from gateway.kit.section import Secret, Section, refuse_less_than_one
from gateway.protocol.models import RESERVED
from gateway.protocol.route_rules import faults, name_fault
from gateway.protocol.routes import RouteSpec
from gateway.protocol.upstreams import Kind
from gateway.retention_settings import RetentionSettings
from gateway.sign_in_settings import ConsoleSettings, OidcSettings, SignInSettings
from gateway.telemetry_settings import TelemetrySettings
from gateway.vllm_settings import VllmSettings

PREFIX = "TUNEWAY_"
NOT_SETTINGS = {"TUNEWAY_CONFIG", "TUNEWAY_ADMIN_KEY", "TUNEWAY_URL"}
"""Read by the command line, not part of the settings."""
SECRET_KEY_LENGTH = 32


class SettingsError(Exception):
    """A setting is unknown, missing or wrong; the message names its path."""


def _refuse_no_price(what: str, usd: float) -> None:
    """Not more than costs in the database can hold; never nan, and nothing finer than a nano-dollar."""
    if usd < 0:
        raise ValueError(f"{what} is negative")
    if not usd <= MAX_PRICE_USD:
        raise ValueError(f"{what}: {usd} is no number of at most {MAX_PRICE_USD} (USD)")
    nano_from_usd(usd)


class DatabaseSettings(Section, frozen=True):
    url: str = "postgresql+asyncpg://postgres@127.0.0.1:5432/tuneway"
    """PostgreSQL: postgresql+asyncpg://user:pass@host:port/name, with arguments of asyncpg's behind a question mark (?ssl=require)."""
    pool_size: int = 8
    """Connections per process, kept open; as many again for what comes at once."""

    def __post_init__(self) -> None:
        try:
            connect_arguments(self.url)
        except ValueError as error:
            raise ValueError(f"url: {error}") from None


class RedisSettings(Section, frozen=True):
    url: str = "redis://127.0.0.1:6379/0"
    """Redis 6.2 or newer; unix:///path also works."""


class EngineSettings(Section, frozen=True):
    url: str | None = None
    """Base URL of the engine that serves the base model and the adapters trained here (vLLM's API), ending in /v1."""
    replicas: tuple[str, ...] = ()
    """More base URLs of engines that serve the same base model; calls are shared among all of them."""
    api_key: Secret = Secret("")
    """Sent as bearer token, where the engine was started with --api-key."""
    data_dir: str = ""
    """DATA_DIR as the machines of the engine see it; empty means the same path as here."""
    max_adapters: int = 0
    """Fine-tuned models that each replica holds; those used longest ago leave for others and come back when they are called. 0: no limit of ours."""
    load_seconds: float = 30.0
    """How long a call waits for a fine-tuned model to be loaded, before it falls back."""
    probe_tolerance: float = 0.1
    """How far a fine-tuned model's log-probabilities on the engine may be, on average, from the trainer's: larger for a quantized engine."""
    sharing: Literal["separate", "sleep"] = "separate"
    """`sleep`: before a training the engine finishes what it does and gives its memory away, and wakes up after it (vLLM: --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1); calls meanwhile fall back. `separate`: the training has devices of its own."""
    model: str = "starter"
    """Name under which clients call the base model."""
    model_path: str = ""
    """Directory (or local Hugging Face id) of the base model's weights: what training starts from."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Of every replica, without a slash at the end."""
        return tuple(url.rstrip("/") for url in ((self.url, *self.replicas) if self.url else ()))


FRAMING_HEADERS = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""They say how one message is sent (RFC 9110, section 7.6.1; RFC 9112, section 6): another's would be read as two."""


class UpstreamSettings(Section, frozen=True, kw_only=True):
    name: str
    """Unique; appears in the exchange log."""
    base_url: str
    """Base URL, ending in /v1."""
    replicas: tuple[str, ...] = ()
    """More base URLs that serve the same models; calls are shared among all of them."""
    kind: Kind = "openai"
    """The API it speaks: openai, or anthropic (the Messages API, translated both ways)."""
    api_key: Secret = Secret("")
    """Sent as bearer token."""
    api_key_env: str = ""
    """Name of an environment variable that holds the key, instead of api_key."""
    models: tuple[str, ...]
    """Model names served there, as clients call them."""
    served_names: dict[str, str] = {}
    """The upstream's own name of a model, where clients call it by another: { "chat" = "gpt-4o-mini" }."""
    organization: str = ""
    """Sent as OpenAI-Organization."""
    project: str = ""
    """Sent as OpenAI-Project."""
    headers: dict[str, str] = {}
    """Sent with every call, beside the key."""
    proxy: str | None = None
    """URL of an HTTP proxy on the way."""

    def __post_init__(self) -> None:
        if self.proxy and not self.proxy.lower().startswith(("http://", "https://")):  # never shown: it has a password
            raise ValueError(f"upstream `{self.name}`: proxy: it does not begin with http:// or https://")
        if framing := sorted(name for name in self.headers if name.lower() in FRAMING_HEADERS):
            raise ValueError(f"upstream `{self.name}`: headers: `{framing[0]}` is written by the gateway for each call")

    @property
    def base_urls(self) -> tuple[str, ...]:
        """Of every replica, without a slash at the end."""
        return tuple(url.rstrip("/") for url in (self.base_url, *self.replicas))


class RouteSettings(RouteSpec, frozen=True, kw_only=True):
    """A route that no API call can change; one made with POST /v1/routes may have the same name and then wins."""

    name: str
    """What clients send as `model`."""


class PriceSettings(Section, frozen=True, kw_only=True):
    model: str
    """Exact model name. A fine-tuned model without a price of its own costs what its base costs."""
    input: float
    """USD per 1M input tokens."""
    cached_input: float | None = None
    """USD per 1M input tokens that the upstream read from its cache; like `input` when left out."""
    output: float
    """USD per 1M output tokens."""
    per_request: float = 0.0
    """USD for each request, whatever its tokens."""
    training: float | None = None
    """USD per 1M tokens that a fine-tuning job trains; left out, they cost nothing."""
    training_hour: float | None = None
    """USD per hour of one device in training; left out, [fine_tuning] usd_per_hour."""
    max_output_tokens: int | None = None
    """The most that the model answers: what a call that names no limit may cost a budget."""

    def __post_init__(self) -> None:
        for name in ("input", "cached_input", "output", "per_request", "training", "training_hour"):
            if (usd := getattr(self, name)) is not None:
                _refuse_no_price(f"price `{name}` of `{self.model}`", usd)
        refuse_less_than_one(self, ("max_output_tokens",))


class TimeoutSettings(Section, frozen=True):
    connect: float = 5.0
    """Seconds to open a connection to an upstream."""
    idle: float = 600.0
    """Seconds an upstream may send nothing between two pieces of an answer."""
    first_token: float = 600.0
    """Seconds from sending a call to the first piece of its answer."""
    total: float = 0.0
    """Seconds for a whole call, all tries included, and for a stream until its end. 0: no limit."""
    drain: float = 30.0
    """Seconds a provider's stream is read on after its client left, to learn the true usage."""
    finish: float = 20.0
    """Seconds that calls on their way have to end after SIGTERM; then their upstreams are hung up."""
    database: float = 10.0
    """Seconds to wait for a database connection before answering 503."""


class ExchangeSettings(Section, frozen=True):
    segment_bytes: int = 16 * 1024 * 1024
    """A spool segment is closed and handed to the database at this size."""
    drain_seconds: float = 0.5
    """How often the spool is drained into the database."""
    drain: Literal["process", "inside"] = "process"
    """Where: in a process beside each gateway process, or inside of it, where it takes time from calls."""
    sync: Literal["os", "group"] = "os"
    """What a finished call survives: "os", that the process is killed; "group", that the power is lost, too: replies then wait for the disk, together."""
    max_spool_bytes: int = 4 * 1024 * 1024 * 1024
    """So many bytes of finished calls may wait on the disk for the database, for each gateway process; then calls are refused with 503 until it takes them."""
    blob_bytes: int = 256 * 1024
    """A body of a call that has this many bytes or more when it is compressed is kept in the file storage ([files]), not in the database; 0: none is."""

    def __post_init__(self) -> None:
        refuse_less_than_one(self, ("segment_bytes", "max_spool_bytes"))
        if self.blob_bytes and self.blob_bytes < 1024:
            raise ValueError(f"blob_bytes: {self.blob_bytes} is too small; at least 1024, or 0 for none")


class BudgetSettings(Section, frozen=True):
    wait_seconds: float = 3.0
    """How long a call waits for what calls under way have reserved of its budget and may not need."""
    idle_seconds: float = 5.0
    """What a process set aside of a budget goes back when no call has needed it for so long."""
    assumed_output_tokens: int = 16_384
    """The longest answer of a model whose price names no max_output_tokens, where the caller sets no limit: it is reserved, and then sent as the call's limit."""
    image_tokens: int = 16_384
    """Input tokens that one image of a call may come to."""
    file_tokens: int = 65_536
    """Input tokens that one file or video of a call may come to, beside the bytes that came with the call."""

    def __post_init__(self) -> None:
        refuse_less_than_one(self, ("assumed_output_tokens", "image_tokens", "file_tokens"))


class FileSettings(Section, frozen=True):
    url: str = ""
    """Where file contents live: file:///path or s3://bucket/prefix; empty means DATA_DIR/blobs."""
    s3_endpoint: str = ""
    """URL of an S3-compatible server; empty means AWS_ENDPOINT_URL, else Amazon's."""
    s3_region: str = ""
    """Empty means AWS_DEFAULT_REGION, else us-east-1."""
    s3_access_key_id: str = ""
    """Empty means AWS_ACCESS_KEY_ID, or the identity of the machine or pod."""
    s3_secret_access_key: Secret = Secret("")
    """Empty means AWS_SECRET_ACCESS_KEY."""
    s3_session_token: Secret = Secret("")
    """Of temporary credentials; empty means AWS_SESSION_TOKEN."""
    max_bytes: int = 512 * 1024 * 1024
    """Largest file that arrives in one piece (contract section 2)."""
    max_batch_bytes: int = 200 * 1024 * 1024
    """Largest file with purpose batch (contract section 2)."""
    max_upload_bytes: int = 8 * 1024 * 1024 * 1024
    """Largest file that arrives in parts (contract section 2)."""
    max_part_bytes: int = 64 * 1024 * 1024
    """Largest of those parts (contract section 2)."""
    upload_seconds: int = 3600
    """An upload in parts that is not completed within this time expires (contract section 2)."""
    max_project_bytes: int = 2_500_000_000_000
    """All files of one project together (contract section 2)."""

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith(("file:///", "s3://")):
            raise ValueError(f"url: '{self.url}' is neither file:///path nor s3://bucket/prefix")
        if self.s3_endpoint and not self.s3_endpoint.startswith(("http://", "https://")):
            raise ValueError(f"s3_endpoint: '{self.s3_endpoint}' does not begin with https:// or http://")


class FineTuningSettings(Section, frozen=True):
    command: tuple[str, ...] = ()
    """Starts the trainer with the job directory appended; empty means this Python with -m trainer. Two GPUs together: devices = ["0,1"] and command = ["torchrun", "--standalone", "--nproc_per_node", "2", "-m", "trainer"]."""
    devices: tuple[str, ...] = ()
    """One job at a time on each: CUDA indices, as in ["0", "1"], or groups of them, as in ["0,1", "2,3"], which the trainer gets as CUDA_VISIBLE_DEVICES. Empty means one job at a time on whatever the trainer finds. Workers on one machine must not share devices."""
    lease_seconds: float = 15.0
    """A job whose worker gave no sign of life for this long is taken over by another."""
    usd_per_hour: float | None = None
    """What one device costs an hour, in estimates and in what jobs are charged, where no price of the model says it (training_hour)."""
    keep_failed_seconds: float = 86_400.0
    """How long a failed job keeps its checkpoints and copies of its files on disk, to look into."""

    def __post_init__(self) -> None:
        if self.usd_per_hour is not None and not 0 <= self.usd_per_hour <= MAX_PRICE_USD:
            raise ValueError(f"usd_per_hour: {self.usd_per_hour} is no number from 0 to {MAX_PRICE_USD}")


class GradingSettings(Section, frozen=True):
    python_runner: tuple[str, ...] = ()
    """Command that runs judges/python_runner.py in a sandbox: the command is the isolation, examples are in docs/decisions/0008-python-graders-in-an-operators-sandbox.md. Empty means that Python graders are refused."""
    python_concurrency: int = 2
    """Python graders at a time in one gateway process; others wait."""

    def __post_init__(self) -> None:
        if self.python_concurrency < 1:
            raise ValueError("python_concurrency: at least 1 is needed")


class WorkerSettings(Section, frozen=True):
    gateway_url: str = "http://127.0.0.1:8000"
    """Where workers reach the gateway: judges and evals ask models through it. `tuneway serve` sets it."""
    answer_seconds: float = 600.0
    """How long they wait for an answer."""
    judges: int = 8
    """Questions to judges at a time in one worker."""
    eval_calls: int = 8
    """Calls of eval runs at a time in one worker."""
    judge_lag_minutes: float = 15.0
    """A judge whose oldest answer waits for longer is told of as lagging: in the log, and as the webhook event judge.lagging."""
    dataset_wait_seconds: float = 3.0
    """A dataset is built so long after its moment: until then, what happened before it has reached the database."""

    def __post_init__(self) -> None:
        refuse_less_than_one(self, ("judges", "eval_calls", "judge_lag_minutes"))


class FeedbackSettings(Section, frozen=True):
    origins: tuple[str, ...] = ()
    """Web pages that may send feedback from the browser, as in ["https://app.example.com"]; "*" is every page. Keys in pages should have the scope api.feedback.write alone."""


class RoutingSettings(Section, frozen=True):
    aliases: dict[str, str] = {}
    """Other names of models: { "gpt-4o-mini" = "starter" }."""
    fallbacks: dict[str, tuple[str, ...]] = {}
    """What answers when a model does not, in order: { "starter" = ["gpt-4o-mini"] }."""
    fine_tuned_to_base: bool = True
    """A fine-tuned model that does not answer falls back to its base; a call with the header `x-tuneway-fallback: off` never falls back."""
    retries: int = 1
    """More tries of a model that is called without a route, before its fallbacks."""
    check_processes: int = 2
    """Processes that hold answers against rules: beside each gateway process those of routes' checks, beside each worker those of judges. None is started without such rules."""

    def __post_init__(self) -> None:
        refuse_less_than_one(self, ("check_processes",))


LIMITS = (
    "requests_per_minute",
    "tokens_per_minute",
    "requests_per_day",
    "tokens_per_day",
    "concurrent_requests",
)


class LimitSettings(Section, frozen=True, kw_only=True):
    requests_per_minute: int | None = None
    """Calls in a minute; left out: no such limit."""
    tokens_per_minute: int | None = None
    """Input and output tokens in a minute."""
    requests_per_day: int | None = None
    """Calls in 24 hours."""
    tokens_per_day: int | None = None
    """Input and output tokens in 24 hours."""
    concurrent_requests: int | None = None
    """Calls at a time; a stream counts until it ends."""

    def __post_init__(self) -> None:
        refuse_less_than_one(self, LIMITS)


class TierSettings(LimitSettings, frozen=True, kw_only=True):
    name: str
    """A class of keys and projects; the limits below hold for all models together."""
    models: dict[str, LimitSettings] = {}
    """Limits of single models or routes, within those: { "gpt-4o-mini" = { requests_per_minute = 10 } }."""


class RateLimitSettings(Section, frozen=True):
    default_tier: str = ""
    """Name of the tier of projects that have none of their own (docs/limits.md). Empty means no limits."""
    answer_seconds: float = 0.5
    """A Redis that does not answer for so long counts as away: each process then keeps its own part of every limit."""

    def __post_init__(self) -> None:
        if self.answer_seconds <= 0:
            raise ValueError(f"answer_seconds: {self.answer_seconds} is not more than 0")


class Settings(Section, frozen=True):
    data_dir: Path = Path("~/.tuneway")
    """Spool, jobs, adapters and (by default) file contents."""
    secret_key: Secret = Secret("")
    """Keys the hashes of API keys: 32 or more random characters, the same in every process. `tuneway serve` makes one."""
    encryption_key: Secret = Secret("")
    """Seals what is secret in the database (keys of providers added with POST /v1/upstreams, secrets of webhooks and authenticators): 32 random bytes, base64 or hexadecimal, the same in every process. Several, with spaces between, for a change of keys: the first seals, all open (`tuneway reseal`). `tuneway serve` makes one."""
    encryption_key_file: str = ""
    """Path of a file that holds it, instead of encryption_key."""
    organization: str = "tuneway"
    """Appears in the names of fine-tuned models and in the openai-organization header."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Largest JSON request body."""
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    engine: EngineSettings = EngineSettings()
    vllm: VllmSettings = VllmSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    exchanges: ExchangeSettings = ExchangeSettings()
    budgets: BudgetSettings = BudgetSettings()
    files: FileSettings = FileSettings()
    fine_tuning: FineTuningSettings = FineTuningSettings()
    grading: GradingSettings = GradingSettings()
    worker: WorkerSettings = WorkerSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    alerts: AlertSettings = AlertSettings()
    retention: RetentionSettings = RetentionSettings()
    limits: RateLimitSettings = RateLimitSettings()
    routing: RoutingSettings = RoutingSettings()
    cache: CacheSettings = CacheSettings()
    console: ConsoleSettings = ConsoleSettings()
    sign_in: SignInSettings = SignInSettings()
    oidc: OidcSettings = OidcSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    upstreams: tuple[UpstreamSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    prices: tuple[PriceSettings, ...] = ()
    tiers: tuple[TierSettings, ...] = ()

    def __post_init__(self) -> None:
        if self.oidc.issuer and not self.console.url:
            raise ValueError("console.url: single sign-on needs it: the provider sends people back there")
        if self.engine.sharing == "sleep" and self.vllm.enable_sleep_mode is False:
            raise ValueError('vllm.enable_sleep_mode: false, but engine.sharing = "sleep" needs it')
        _refuse_repeats("upstreams", [upstream.name for upstream in self.upstreams])
        _refuse_repeats("routes", [route.name for route in self.routes])
        _refuse_repeats("tiers", [tier.name for tier in self.tiers])
        if self.limits.default_tier not in ("", *(tier.name for tier in self.tiers)):
            raise ValueError(f"limits.default_tier: there is no [[tiers]] with the name `{self.limits.default_tier}`")
        _refuse_repeats("prices", [price.model for price in self.prices])
        devices = [index.strip() for device in self.fine_tuning.devices for index in device.split(",")]
        _refuse_repeats("fine_tuning.devices", devices)
        _refuse_faulty_routes(self.routes)
        names = [model for upstream in self.upstreams for model in upstream.models]
        _refuse_repeats("models of upstreams", names + ([self.engine.model] if self.engine.url else []))
        called = [*names, self.engine.model, *self.routing.aliases, *(route.name for route in self.routes)]
        if taken := sorted(set(called) & set(RESERVED)):
            raise ValueError(f"no model, alias or route can be called `{taken[0]}`: /v1/models/{taken[0]} is taken")


def load(config: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from a TOML file and the environment, the environment winning.

    Raises:
        SettingsError: the file cannot be read, or a setting is unknown, missing or of the wrong type.
    """
    environment = os.environ if environment is None else environment
    config = config or (Path(environment["TUNEWAY_CONFIG"]) if environment.get("TUNEWAY_CONFIG") else None)
    raw = _read(config) if config else {}
    for name, value in environment.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            _overlay(raw, name, value)
    _resolve_key_variables(raw, environment)
    try:
        settings = msgspec.convert(raw, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{config or 'environment'}: {error}") from None
    return msgspec.structs.replace(
        settings,
        data_dir=settings.data_dir.expanduser().resolve(),
        encryption_key=_encryption_key(settings),
        encryption_key_file="",
    )


def require_secret_key(settings: Settings) -> None:
    """Raises SettingsError unless there is a key to hash API keys with; `tuneway serve` always makes one."""
    if len(settings.secret_key.reveal()) < SECRET_KEY_LENGTH:
        raise SettingsError(
            f"secret_key: at least {SECRET_KEY_LENGTH} random characters are needed, the same in every process"
            " (TUNEWAY_SECRET_KEY)"
        )


def _encryption_key(settings: Settings) -> Secret:
    """The keys as text, from wherever they are. Raises SettingsError, which never shows them."""
    given, path = settings.encryption_key, settings.encryption_key_file
    if given and path:
        raise SettingsError("encryption_key and encryption_key_file are both set: one of them is needed")
    name = "encryption_key_file" if path else "encryption_key"
    try:
        text = Path(path).expanduser().read_text() if path else given.reveal()
        if path and not text.strip():
            raise ValueError(f"{path} is empty; restore it from a backup")
        read_keys(text)
    except UnicodeDecodeError:  # its message would show the bytes
        raise SettingsError(f"{name}: {path} is not text") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name}: {error}") from None
    return Secret(text)


def child_environment() -> dict[str, str]:
    """The environment for a process that is not ours: this one's without our settings and secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{config}: {error}") from None


def _overlay(raw: dict[str, Any], name: str, value: str) -> None:
    """Put one environment variable at its place: TUNEWAY_DATABASE__POOL_SIZE -> raw["database"]["pool_size"]."""
    *sections, field = name.removeprefix(PREFIX).lower().split("__")
    place = raw
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise SettingsError(f"{name}: `{section}` is a list; set it in the configuration file")
    place[field] = value


def _resolve_key_variables(raw: dict[str, Any], environment: Mapping[str, str]) -> None:
    upstreams: Any = raw.get("upstreams")
    for upstream in upstreams if isinstance(upstreams, list) else []:
        variable = upstream.get("api_key_env") if isinstance(upstream, dict) else None
        if variable and not upstream.get("api_key"):
            if variable not in environment:
                raise SettingsError(f"upstream `{upstream.get('name')}`: environment variable {variable} is not set")
            upstream["api_key"] = environment[variable]


def _decode(kind: type, value: Any) -> Any:
    if kind in (Secret, Path) and isinstance(value, str):
        return kind(value)
    raise TypeError(f"Expected `str`, got `{type(value).__name__}`")  # msgspec adds the path


def _refuse_faulty_routes(routes: tuple[RouteSettings, ...]) -> None:
    """That their models exist is not known here: some are made later, others come from the database."""
    for place, route in enumerate(routes):
        if rule := name_fault(route.name):
            raise ValueError(f"routes[{place}].name: {rule}")
        for path, rule in faults(route):
            raise ValueError(f"routes[{place}].{path}: {rule}")


def _refuse_repeats(what: str, names: list[str]) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{what}: `{repeated[0]}` is named twice")
