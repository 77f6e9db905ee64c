"""Records of calls as metrics get them, made up."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gateway.telemetry.metrics.folding import fold
from gateway.telemetry.metrics.readings import Gauges
from gateway.telemetry.metrics.snapshot import Family, Snapshot, snapshot
from gateway.telemetry.metrics.tally import Tally
from gateway.telemetry.record import CallRecord

SCORE = "trident.risk.v1.RiskService/ScoreRisk"
DIAGNOSE = "trident.diagnose.v1.DiagnoseService/Diagnose"
START_NS = 1_750_000_000_000_000_000
MS = 1_000_000


def record(
    *stages: tuple[str, float], method: str = SCORE, total_ms: float | None = None, **fields: Any
) -> CallRecord:
    """A call whose stages follow one another; each is given with its time in ms."""
    made = CallRecord(method, START_NS)
    now = START_NS
    for name, took_ms in stages:
        end = now + round(took_ms * MS)
        made.stages.append((name, now, end, ""))
        now = end
    made.end_ns = now if total_ms is None else START_NS + round(total_ms * MS)
    made.line, made.release, made.variant = "score-risk", "r1", "fused"
    for name, value in fields.items():
        setattr(made, name, value)
    return made


STAGE_NAMES = ("decode", "admission", "queue", "batch", "triton", "encode")


@st.composite
def records(draw: st.DrawFn) -> CallRecord:
    """Any call."""
    times = st.integers(0, 60_000_000_000) | st.sampled_from([0, 1, 100_000, MS, 30_000 * MS])
    made = CallRecord(draw(st.sampled_from([SCORE, DIAGNOSE])), START_NS)
    if draw(st.integers(0, 9)):  # else it is a part of a stream that goes on
        made.end_ns = START_NS + draw(times)
    made.code = draw(st.integers(0, 17))
    if draw(st.booleans()):
        made.line, made.variant = draw(st.sampled_from(["a", "b"])), "fused"
        made.release = draw(st.sampled_from(["r1", "r2"]))
    for name in draw(st.lists(st.sampled_from(STAGE_NAMES), max_size=8)):
        begun = START_NS + draw(times)
        made.stages.append((name, begun, begun + draw(times), ""))
    made.batch_calls = draw(st.integers(0, 70))
    made.batch_rows = made.batch_calls * draw(st.integers(1, 20))
    made.trace_id = draw(st.sampled_from([0, 0, 1, 2**127 + 5]))
    made.step = draw(st.sampled_from(["", "", "score"]))
    return made


def folded(*some: CallRecord) -> Tally:
    tally = Tally()
    fold(some, tally)
    return tally


def shown(tally: Tally, gauges: Gauges | None = None) -> Snapshot:
    return snapshot(tally, gauges or {}, since_ns=START_NS)


def family(of: Snapshot, name: str) -> Family:
    (found,) = (one for one in of.families if one.instrument.name == name)
    return found
