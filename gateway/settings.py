"""The settings of ``gateway serve``.

Each can be given on the command line, as an environment variable ``TRIDENT_<NAME>``, or in a
YAML file, in this order of precedence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from yaml import YAMLError

from gateway.cores import triton_instances, usable_cores
from gateway.settings_audit import AuditSettings
from gateway.settings_limits import ClientLimit, client_name
from gateway.settings_security import SecuritySettings, is_loopback
from gateway.triton.cancelling import Cancelling
from triton_models.limits import MAX_BATCH_ROWS
from triton_models.plan_check import capability_of, version_of

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})")

DNS = "dns:///"
"""Before a name of several Tritons; as gRPC writes it."""

MAX_WORKERS = 256

DEFAULT_TRACES_FILE = Path("traces/trident.jsonl")


class InvalidSettings(Exception):
    """Settings that cannot be used; every violation is in the message."""

    def __init__(self, violations: Mapping[str, str]) -> None:
        lines = [f"{name}: {text}" for name, text in violations.items()]
        super().__init__("Invalid settings:\n  " + "\n  ".join(lines))
        self.violations = dict(violations)


class Settings(SecuritySettings, AuditSettings):
    """How to serve."""

    model_config = SettingsConfigDict(env_prefix="TRIDENT_", frozen=True, extra="forbid")

    listen: str = "127.0.0.1:50051"
    """Where clients call: ``host:port``; port 0 for a free one. Where other machines reach it, it
    needs ``tls_certificate``, or ``insecure``."""

    metrics_listen: str | None = None
    """Where Prometheus finds the metrics of all workers, ``host:port`` (docs/metrics.md); none by
    default. A collector in ``OTEL_EXPORTER_OTLP_[METRICS_]ENDPOINT`` gets them in any case."""

    store: str = "triton_models/store"
    """Where the releases lie: a folder, or any URL that fsspec knows."""

    public_key: Path | None = None
    """The key (PEM) that signatures of releases are checked with; see docs/releases.md."""

    require_signed: bool = False
    """Whether a release is loaded only if it is signed, with the key of ``public_key``. Altered
    files are refused in any case."""

    embedded: bool = False
    """Whether to start the Triton that comes along; else ``triton`` names others."""

    triton: Annotated[tuple[str, ...], NoDecode] = Field(default=(), validate_default=True)
    """Tritons that read the same store, each ``host:port``, or ``dns:///host:port`` for every
    address that the host has, looked up again every 5 s; in the environment with commas."""

    workers: Literal["auto"] | int = 1
    """Processes that answer, on one port. One batches best and is the smallest, so it is the
    default; ``auto``: one for each core that may be used, half of them if Triton is embedded."""

    transport: Literal["auto", "grpc", "envoy"] = "auto"
    """What takes calls: ``grpc`` is grpc.aio, ``envoy`` an Envoy with this gateway inside, faster;
    ``auto`` is ``envoy`` where it is installed (docs/decisions/0001-two-transports.md)."""

    variant: Literal["auto", "ensemble", "fused"] = "auto"
    """The layout of a release that answers; ``auto`` is ``fused`` where the release runs on a CPU
    and has that variant, else ``ensemble``."""

    traces_file: Path | None = Field(default=None, validate_default=True)
    """A file for the spans, as OTLP/JSON lines; ``traces/trident.jsonl`` if Triton is embedded,
    else none. Empty: none in any case."""

    otlp_endpoint: str | None = None
    """A collector for the spans: ``host:4317`` or ``http://host:4318``."""

    trace_sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """The share of calls that are traced, in [0, 1], where the client does not decide."""

    trace_keep_errors: bool = True
    """Whether calls that failed by the gateway's or Triton's fault are traced in any case, whatever
    chance or the client said. Such traces have the gateway's spans only."""

    trace_keep_slower_s: float | None = Field(default=1.0, ge=0)
    """Calls that took at least so many seconds are traced in any case too; empty: none."""

    triton_log_file: Path | None = None
    """Where the embedded Triton's log is kept; by default it goes when the gateway does."""

    triton_instances: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = "auto"
    """Processes of the embedded Triton that run each model; ``auto``: as many as were best in
    docs/performance.md. Another Triton does as its own configuration says."""

    triton_cancelling: Cancelling = "auto"
    """Whether Triton is told of deadlines and of inferences that nobody waits for any more, so that
    it can stop; versions before 2.59 can crash of that, see docs/faults.md. ``auto``: later ones
    are told."""

    triton_profile: str | None = None
    """What the Tritons were given as ``--model-config-name``, such as ``tensorrt``: a release that
    cannot run so is refused in words, and none has to be loaded to see where it runs. Empty: they
    were given none."""

    triton_gpu: str | None = None
    """The compute capability of their GPUs, ``9.0`` or ``sm_90``, which plans must fit."""

    triton_tensorrt: str | None = None
    """Their version of TensorRT, such as ``10.13.3``, which plans must fit."""

    shared_memory_bytes: int | None = Field(default=None, ge=1)
    """Tensors at least this large go to Triton by shared memory, which must then be on this
    machine; off by default."""

    max_message_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """The largest message, either way."""

    message_timeout_s: float = Field(default=60, gt=0)
    """Time that a message has to come whole, in seconds: what came of it is held that long. Between
    two messages of a stream, any time may pass."""

    max_batch_rows: int = Field(default=64, ge=1, le=MAX_BATCH_ROWS)
    """Single calls that travel to Triton as one request, at most; 1: each goes by itself."""

    max_batch_wait_s: float = Field(default=0.003, ge=0, le=1)
    """Time that a batch waits for more calls at most while Triton has none of its model; 0: it
    waits only for the batches before it."""

    hedging: bool = False
    """Whether a second Triton is asked where the first takes longer than nearly all answers do, and
    the first answer taken; what it costs is bounded as retries are."""

    max_in_flight: int = Field(default=64, ge=1)
    """Requests for one line that are at Triton at a time, at most."""

    adaptive_limit: bool = False
    """Whether fewer are sent where more only wait there: learnt from how long they take. It can
    hold back a load that is none too large, see docs/faults.md."""

    max_waiting: int = Field(default=512, ge=0)
    """Calls of one line that wait for that; one more is refused."""

    queue_stands_s: float | None = Field(default=1.0, ge=0)
    """A queue in which nobody has waited less for a while stands: it is cut down to what is
    answered in half of a batch's time, and more calls are refused; 0: once all wait longer than
    that; empty: never."""

    client_limit: ClientLimit = ClientLimit()
    """What each client may have that is not in ``client_limits``: rate, burst, quota, calls at a
    time, priority. Clients are who they have shown to be, or else their addresses. Each worker
    counts for itself."""

    client_limits: Mapping[str, ClientLimit] = Field(default_factory=dict)
    """The same for single clients, by ID (``key:billing``) or address (``10.0.3.7``)."""

    domain_limits: Mapping[
        Literal["recommend", "diagnose", "risk"], Annotated[int, Field(ge=1)]
    ] = Field(default_factory=dict)
    """By domain: calls that each worker answers at a time, at most."""

    max_stream_outstanding: int = Field(default=64, ge=1)
    """Elements of one stream that are answered at a time."""

    cache_bytes: int = Field(default=0, ge=0)
    """Memory of each worker for answers that are given again to identical requests; 0: none."""

    cache_entries: int = Field(default=100_000, ge=1)
    """Answers that are kept at most."""

    call_timeout_s: float = Field(default=60, gt=0)
    """Time that a call without a deadline has, in seconds."""

    load_timeout_s: float = Field(default=120, gt=0)
    """Time that Triton has to load a release, in seconds."""

    unload_after_s: float = Field(default=30, ge=0)
    """Time that a release stays loaded when it is routed no longer, in seconds, and longer while
    calls are in flight: every worker and gateway must have seen the new routes by then."""

    ready_timeout_s: float = Field(default=60, gt=0)
    """Time that the embedded Triton has to start, in seconds."""

    grace_s: float = Field(default=20, ge=0)
    """Time that calls in flight have to finish when the gateway is told to stop, in seconds."""

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: str, info: ValidationInfo) -> str:
        host = _address(value, lowest_port=0).rpartition(":")[0]
        protected = info.data.get("tls_certificate") or info.data.get("insecure")
        if not is_loopback(host) and not protected:
            raise ValueError(
                f"{value} can be reached from other machines: give tls_certificate and tls_key, "
                "or --insecure where something else protects it"
            )
        return value

    @field_validator("metrics_listen")
    @classmethod
    def _check_metrics_listen(cls, value: str | None) -> str | None:
        return _address(value, lowest_port=0) if value else None

    @field_validator("store")
    @classmethod
    def _check_store(cls, value: str) -> str:
        if not value:
            raise ValueError("must not be empty")
        return value

    @field_validator("require_signed")
    @classmethod
    def _check_require_signed(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("public_key") is None:
            raise ValueError("needs public_key, to check the signatures with")
        return value

    @field_validator("embedded")
    @classmethod
    def _check_embedded(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("triton_tls_ca") is not None:
            raise ValueError("speaks no TLS: leave triton_tls_ca out")
        return value

    @field_validator("triton_profile")
    @classmethod
    def _check_profile(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("embedded"):
            raise ValueError("is for Tritons of your own: the embedded one has no GPU")
        return value

    @field_validator("triton_gpu", "triton_tensorrt")
    @classmethod
    def _check_gpu(cls, value: str | None, info: ValidationInfo) -> str | None:
        if not value:
            return None
        return capability_of(value) if info.field_name == "triton_gpu" else version_of(value)

    @field_validator("workers", mode="before")
    @classmethod
    def _check_workers(cls, value: Any) -> Any:
        text = str(value)
        if text == "auto" or (text.isdecimal() and 1 <= int(text) <= MAX_WORKERS):
            return value
        raise ValueError(f"must be 'auto' or in [1, {MAX_WORKERS}], got {value!r}")

    @field_validator("triton", mode="before")
    @classmethod
    def _split_targets(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("triton")
    @classmethod
    def _check_triton(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for target in value:
            _address(target.removeprefix(DNS), lowest_port=1)
        if len(set(value)) < len(value):
            raise ValueError(f"names a Triton twice: {', '.join(value)}")
        embedded = info.data.get("embedded")
        if embedded and value:
            raise ValueError("give --embedded or --triton HOST:PORT, not both")
        if embedded is False and not value:
            raise ValueError(
                "give --embedded, or a Triton with --triton HOST:PORT; in a file, embedded or "
                "triton"
            )
        return value

    @field_validator("client_limits")
    @classmethod
    def _name_clients(cls, value: Mapping[str, ClientLimit]) -> Mapping[str, ClientLimit]:
        named = {client_name(text): limit for text, limit in value.items()}
        if len(named) < len(value):
            raise ValueError("names a client twice")
        return named

    @field_validator("traces_file", mode="before")
    @classmethod
    def _default_traces_file(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            return DEFAULT_TRACES_FILE if info.data.get("embedded") else None
        return value or None

    @field_validator(
        "otlp_endpoint",
        "triton_log_file",
        "public_key",
        "queue_stands_s",
        "trace_keep_slower_s",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @property
    def worker_count(self) -> int:
        """The number that ``auto`` stands for."""
        if self.workers != "auto":
            return self.workers
        cores = usable_cores()
        return max(1, cores // 2) if self.embedded else cores

    def of_worker(self, *, listen: str, triton: tuple[str, ...]) -> Settings:
        """Return the settings of a worker, which starts nothing itself.

        Args:
            listen: The address that all workers share.
            triton: The Tritons, also one that is embedded.
        """
        instances = self.triton_instances
        if self.embedded and instances == "auto":
            instances = triton_instances(usable_cores())
        changes = {
            "listen": listen,
            "triton": triton,
            "triton_instances": instances,
            "embedded": False,
            "workers": 1,
        }
        return self.model_copy(update=changes)


def load_settings(config: Path | None, options: Mapping[str, Any]) -> Settings:
    """Return the settings from command line, environment and file.

    Args:
        config: A YAML file with names as in :class:`Settings`.
        options: What the command line says; ``None`` where it says nothing.

    Raises:
        InvalidSettings: With everything that is wrong.
    """

    class FromEverywhere(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            if config is None:
                return init_settings, env_settings
            return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, config)

    given = {name: value for name, value in options.items() if value is not None}
    try:
        return FromEverywhere(**given)
    except ValidationError as error:
        raise InvalidSettings(violations_of(error)) from error
    except AttributeError as error:  # pydantic-settings takes every name in a YAML file for a text
        raise InvalidSettings({str(config): "every name must be a text"}) from error
    except (YAMLError, OSError, ValueError, TypeError) as error:
        raise InvalidSettings({str(config): " ".join(str(error).split())}) from error


def violations_of(error: ValidationError) -> dict[str, str]:
    """Return what is wrong, by the setting's name; without values, which may be secret."""
    return {
        ".".join(map(str, one["loc"])): one["msg"].removeprefix("Value error, ")
        for one in error.errors()
    }


def _address(value: str, lowest_port: int) -> str:
    match = _ADDRESS.fullmatch(value)
    if match is None or not lowest_port <= int(match[2]) <= 65535:
        raise ValueError(f"must be HOST:PORT with a port in [{lowest_port}, 65535], got {value!r}")
    return value
