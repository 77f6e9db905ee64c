"""Every metric: what it is called, what it tells apart, in which unit.

Names and attributes are OpenTelemetry's semantic conventions where there is one, else
``trident.*`` with the words of the traces. Prometheus sees them in the standard translation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.telemetry.metrics.grid import SECONDS, SIZES, TOTALS, Grid

_PROMETHEUS_UNITS = {"s": "seconds", "By": "bytes"}


@dataclass(frozen=True, eq=False)
class Instrument:
    """One metric; there is one object of each.

    Attributes:
        merge: What becomes of a gauge that several workers have.
        grid: The bins of a histogram.
    """

    name: str
    kind: Literal["histogram", "counter", "gauge"]
    unit: str
    attributes: tuple[str, ...]
    description: str
    merge: Literal["sum", "min", "max"] = "sum"
    grid: Grid = TOTALS

    @property
    def prometheus_unit(self) -> str:
        """The unit as Prometheus says it, or nothing: ``{call}`` and its like are no unit there."""
        return _PROMETHEUS_UNITS.get(self.unit, "")

    @property
    def prometheus_name(self) -> str:
        """The name of the family, without the ``_total`` of a counter's samples."""
        name = self.name.replace(".", "_")
        unit = self.prometheus_unit
        return f"{name}_{unit}" if unit else name


def prometheus_label(attribute: str) -> str:
    """Return the label of an attribute."""
    return attribute.replace(".", "_")


METHOD = "rpc.method"
LINE, RELEASE, VARIANT = "trident.line", "trident.release", "trident.variant"
STEP, STAGE, WORKER, TRITON = "trident.step", "trident.stage", "trident.worker", "trident.triton"
REASON = "trident.reason"

_OF_RELEASE = (LINE, RELEASE, VARIANT)
_OF_STEP = (TRITON, LINE, RELEASE, STEP)

CALL_DURATION = Instrument(
    "rpc.server.call.duration",
    "histogram",
    "s",
    ("rpc.system.name", METHOD, "rpc.response.status_code", "error.type", *_OF_RELEASE),
    "Time of a call in the gateway, from its message to its answer.",
    grid=SECONDS,
)
STAGE_DURATION = Instrument(
    "trident.stage.duration",
    "histogram",
    "s",
    (STAGE, METHOD, *_OF_RELEASE),
    "Time of a stage of a call: decode, queue, admission, batch or triton, encode.",
    grid=SECONDS,
)
BATCH_CALLS = Instrument(
    "trident.batch.calls",
    "histogram",
    "{call}",
    _OF_RELEASE,
    "Calls in the inference that answered a call, counted once for each call.",
    grid=SIZES,
)
BATCH_ROWS = Instrument(
    "trident.batch.rows",
    "histogram",
    "{row}",
    _OF_RELEASE,
    "Rows in the inference that answered a call, counted once for each call.",
    grid=SIZES,
)
INFERENCES = Instrument(
    "trident.inferences",
    "counter",
    "{inference}",
    _OF_RELEASE,
    "Inferences that the gateway asked for: calls divided by this is the mean batch.",
)
FAILED_STEPS = Instrument(
    "trident.step.failed_calls",
    "counter",
    "{call}",
    (LINE, RELEASE, STEP),
    "Calls that failed in a step of the ensemble.",
)
ACTIVE_CALLS = Instrument(
    "trident.calls.active", "gauge", "{call}", (), "Calls that are being answered."
)
WAITING_CALLS = Instrument(
    "trident.calls.waiting",
    "gauge",
    "{call}",
    ("trident.place", LINE),
    "Calls that wait: in the queue for company, or at the admission for Triton.",
)
WAITING_LIMIT = Instrument(
    "trident.calls.waiting.limit",
    "gauge",
    "{call}",
    ("trident.place", LINE),
    "How many calls may wait there; one more is refused.",
)
REFUSED_CALLS = Instrument(
    "trident.calls.refused",
    "counter",
    "{call}",
    ("trident.place", LINE, REASON),
    "Calls that were refused before they cost anything: in the queue, at the admission, or for "
    "what their client or domain may have.",
)
ADMITTED = Instrument(
    "trident.admission.active", "gauge", "{inference}", (LINE,), "Inferences that are at Triton."
)
ADMISSION_LIMIT = Instrument(
    "trident.admission.limit",
    "gauge",
    "{inference}",
    (LINE,),
    "How many inferences may be at Triton at a time.",
)
CACHE_HITS = Instrument(
    "trident.cache.hits", "counter", "{call}", (), "Calls that were answered from memory."
)
CACHE_MISSES = Instrument(
    "trident.cache.misses", "counter", "{call}", (), "Calls that looked there and had to run."
)
CACHE_SIZE = Instrument("trident.cache.size", "gauge", "By", (), "Bytes of the answers kept.")
CACHE_ENTRIES = Instrument("trident.cache.entries", "gauge", "{answer}", (), "Answers kept.")
RELEASE_SERVING = Instrument(
    "trident.release.serving",
    "gauge",
    "",
    _OF_RELEASE,
    "1 if every worker can ask the release, else 0.",
    merge="min",
)
RELEASE_WEIGHT = Instrument(
    "trident.release.weight",
    "gauge",
    "",
    _OF_RELEASE,
    "The share of its line's calls that is routed to the release.",
    merge="max",
)
_OF_SHADOW = (LINE, RELEASE, "trident.shadow.beside")
SHADOW_CALLS = Instrument(
    "trident.shadow.calls",
    "counter",
    "{call}",
    (*_OF_SHADOW, "trident.shadow.outcome"),
    "Calls of which a shadow was asked too (asked, failed), or was not because of too many "
    "(dropped).",
)
SHADOW_ROWS = Instrument(
    "trident.shadow.rows",
    "counter",
    "{row}",
    (*_OF_SHADOW, "trident.output"),
    "Rows in which a shadow was compared with the release that answered.",
)
SHADOW_DIFFERENT_ROWS = Instrument(
    "trident.shadow.rows.different",
    "counter",
    "{row}",
    (*_OF_SHADOW, "trident.output"),
    "Rows in which they differ by more than the output's tolerance.",
)
SHADOW_OTHER_FIRST_ROWS = Instrument(
    "trident.shadow.rows.other_first",
    "counter",
    "{row}",
    (*_OF_SHADOW, "trident.output"),
    "Rows in which another finding, or another item, comes first.",
)
DROPPED_RECORDS = Instrument(
    "trident.records.dropped",
    "counter",
    "{call}",
    (),
    "Calls that are missing in these metrics, because they came faster than they were counted.",
)
DROPPED_ACCESS_LINES = Instrument(
    "trident.access_log.dropped",
    "counter",
    "{line}",
    (),
    "Lines of the access log that were not written: too many at once, or the disk took none.",
)
DROPPED_PAYLOADS = Instrument(
    "trident.payload_log.dropped",
    "counter",
    "{row}",
    (),
    "Payloads that were not written: too many at once, or the disk took none.",
)
REFUSED_CREDENTIALS = Instrument(
    "trident.refused_credentials",
    "counter",
    "{call}",
    (),
    "Calls that did not say, or not convincingly, who they are from.",
)
STALE_FILES = Instrument(
    "trident.security.stale_files",
    "gauge",
    "{file}",
    (),
    "Files of keys or permissions that changed and could not be read: the old stay in force.",
)
DROPPED_SPANS = Instrument(
    "trident.spans.dropped",
    "counter",
    "{span}",
    (),
    "Spans that were lost, because the queue to the exporter was full or they could not be sent.",
)
CPU_TIME = Instrument(
    "process.cpu.time", "counter", "s", (WORKER,), "Processor time of a worker, all threads."
)
MEMORY = Instrument(
    "process.memory.usage", "gauge", "By", (WORKER,), "Resident memory of a worker."
)
WORKERS = Instrument("trident.workers", "gauge", "{worker}", (), "Workers whose numbers these are.")
RESTARTS = Instrument(
    "trident.worker.restarts",
    "counter",
    "{restart}",
    (WORKER,),
    "How often a worker died and was started again.",
)
TRITON_UP = Instrument(
    "trident.triton.up", "gauge", "", (TRITON,), "1 if Triton told its statistics, else 0."
)
TRITON_SERVING = Instrument(
    "trident.triton.serving",
    "gauge",
    "",
    (TRITON, LINE, RELEASE),
    "1 if every worker asks this Triton for the release, else 0.",
    merge="min",
)
TRITON_ACTIVE = Instrument(
    "trident.triton.active", "gauge", "{inference}", (TRITON,), "Inferences that are at a Triton."
)
LEFT_OUT = Instrument(
    "trident.triton.left_out",
    "counter",
    "{time}",
    (TRITON, REASON),
    "How often a Triton was left out: unreachable, hangs, slow, wrong, refuses, misfit, gone.",
)
RETRIES = Instrument(
    "trident.triton.retries",
    "counter",
    "{inference}",
    ("trident.outcome",),
    "Inferences that were asked again (made), or would have been with more budget (over_budget).",
)
HEDGES = Instrument(
    "trident.triton.hedges",
    "counter",
    "{inference}",
    (),
    "Inferences that a second Triton was asked for because the first was late.",
)
STEP_DURATION = Instrument(
    "trident.step.duration",
    "histogram",
    "s",
    (*_OF_STEP, STAGE),
    "Time of the requests in a step, as Triton counts it: queue, compute_input, compute_infer, "
    "compute_output. Sum and count only.",
)
TRACED_STEP_DURATION = Instrument(
    "trident.step.traced.duration",
    "histogram",
    "s",
    (LINE, RELEASE, STEP, STAGE),
    "Time of the requests in a step, of those that the embedded Triton traced.",
    grid=SECONDS,
)
STEP_BATCH = Instrument(
    "trident.step.batch.rows",
    "histogram",
    "{row}",
    _OF_STEP,
    "Rows that Triton computed at a time in a step, counted once for each execution.",
    grid=SIZES,
)
TRITON_REQUESTS = Instrument(
    "trident.triton.request.duration",
    "histogram",
    "s",
    _OF_STEP,
    "Time of the requests that Triton answered, as it counts it. Sum and count only.",
)
TRITON_FAILURES = Instrument(
    "trident.triton.request.failures",
    "counter",
    "{request}",
    _OF_STEP,
    "Requests that failed, as Triton counts them.",
)

INSTRUMENTS: dict[str, Instrument] = {
    one.name: one for one in list(globals().values()) if isinstance(one, Instrument)
}
"""All of them, by name."""
