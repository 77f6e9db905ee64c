"""What a report says in words: what takes the time, the number behind it, what to change.

Each rule looks at the summary of one group and gives at most a few findings. A rule speaks only
when what it has seen is large enough to matter; its thresholds stand beside it. Rules about
waiting, errors and time are in modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.telemetry.analysis import stages as stage_names
from gateway.telemetry.analysis.finding import (
    OWN_WORK,
    Finding,
    count,
    has_tail,
    is_busy,
    is_fused,
    ms,
    portion_of,
)
from gateway.telemetry.analysis.findings_of_errors import errors
from gateway.telemetry.analysis.findings_of_waiting import (
    admission,
    batch_wait,
    batching_pays,
    queue_reason,
    step_queue,
)
from gateway.telemetry.analysis.findings_over_time import trend
from gateway.telemetry.analysis.levers import (
    FUSED,
    HEALTHIER_TRITONS,
    NEARER_TRITON,
    SAMPLING,
    WORKERS,
    lever_of,
)
from gateway.telemetry.analysis.summary import GroupSummary
from gateway.telemetry.analysis.writing import percent

LEAST_CALLS = 30
"""With fewer calls nothing is concluded."""


def find(summary: GroupSummary) -> list[Finding]:
    """Return what there is to say of a group, the weightiest first."""
    found = list(errors(summary))
    if summary.calls < LEAST_CALLS:
        if summary.calls:
            text = (
                f"{summary.calls} calls are too few to conclude anything, it takes {LEAST_CALLS}: "
                "send more calls, or trace more of them"
            )
            found.append(Finding("too-few-calls", 0.0, text, SAMPLING, value=summary.calls,
                                 unit="calls"))  # fmt: skip
        return found
    for rule in _RULES:
        found.extend(rule(summary))
    return sorted(found, key=lambda one: -one.weight)


def _lever(summary: GroupSummary, key: str) -> str:
    """Return what to change where a stage of these calls takes long; '' where nothing helps."""
    if key == stage_names.QUEUE.key:
        return queue_reason(summary)[1]
    lever = lever_of(key, fused=is_fused(summary))
    return "" if lever == WORKERS and not is_busy(summary) else lever


def _step_compute(summary: GroupSummary) -> Iterator[Finding]:
    for stage in summary.stages:
        if stage.key.endswith(".infer") and stage.share >= 0.4:
            text = (
                f"step `{stage.step}` computes {ms(stage.mean_ms)}, {percent(stage.share)} of "
                "the time: only a faster model or a faster machine helps"
            )
            yield Finding("step-compute", stage.share, text, _lever(summary, stage.key),
                          stage.key, stage.share)  # fmt: skip


def _copies(summary: GroupSummary) -> Iterator[Finding]:
    parts = [one for one in summary.stages if one.key.endswith((".input", ".output"))]
    share = sum(one.share for one in parts)
    if share >= 0.1 and parts:
        worst = max(parts, key=lambda one: one.share)
        text = (
            f"{percent(share)} of the time goes into handing tensors to the steps and back, most "
        )
        text += f"of it in `{worst.step}` ({ms(worst.mean_ms)})"
        if not is_fused(summary):
            text += ": one fused model hands none between"
        yield Finding("copies", share, text, _lever(summary, worst.key), worst.key, share)


def _between_steps(summary: GroupSummary) -> Iterator[Finding]:
    share = sum(
        one.share for one in summary.stages
        if one.key == stage_names.ENSEMBLE.key or one.key.endswith(".other")
    )  # fmt: skip
    if share >= 0.12 and not is_fused(summary):
        took = ms(share * summary.latency.mean_ms)
        text = (
            f"{percent(share)} of the time ({took}) passes between the steps of the ensemble: "
            "fused into one model they need no scheduling"
        )
        yield Finding("between-steps", share, text, FUSED, stage_names.ENSEMBLE.key, share)


def _triton_network(summary: GroupSummary) -> Iterator[Finding]:
    key = stage_names.TRITON_NETWORK.key
    portion = portion_of(summary, key)
    if portion.share >= 0.25:
        text = (
            f"{portion.text} passes between the gateway and Triton: the way, gRPC and their "
            "event loops"
        )
        yield Finding("network", portion.share, text, NEARER_TRITON, key, portion.share)


def _client_network(summary: GroupSummary) -> Iterator[Finding]:
    """Whose fault it is the traces do not tell, except that an idle gateway is hardly to blame."""
    key = stage_names.CLIENT_NETWORK.key
    portion = portion_of(summary, key)
    if portion.share < 0.25:
        return
    few = f"with {count(summary.at_a_time)} traced calls at a time in the gateway"
    text = f"{portion.text} passes between the client and the gateway, {few}: "
    if is_busy(summary):
        text += "the way, gRPC, and waiting for their event loops; look first whether the client "
        text += "has a core to spare"
    else:
        text += "if these are all, it is the way, or a client that is late, hardly the gateway"
    yield Finding("network", portion.share, text, _lever(summary, key), key, portion.share)


def _retries(summary: GroupSummary) -> Iterator[Finding]:
    """Tritons that fail or hang cost those who are asked again."""
    key = stage_names.RETRY.key
    portion = portion_of(summary, key)
    if portion.share >= 0.1:
        text = f"{portion.text} went to Tritons that gave no answer, before another one was asked"
        yield Finding("retries", portion.share, text, HEALTHIER_TRITONS, key, portion.share)


def _gateway(summary: GroupSummary) -> Iterator[Finding]:
    portion = portion_of(summary, *OWN_WORK)
    if portion.share >= 0.3:
        seen = [one for one in summary.stages if one.key in OWN_WORK]
        worst = max(seen, key=lambda one: one.tail_share if has_tail(summary) else one.share)
        text = f"{portion.text} is the gateway's own work, most of it in `{worst.label}`: "
        if is_busy(summary):
            text += "its processor is busy with other calls too"
        else:
            few = f"with {count(summary.at_a_time)} traced calls at a time"
            text += f"{few}; if these are all, a call needs so much"
        yield Finding("gateway", portion.share, text, _lever(summary, worst.key), worst.key,
                      portion.share)  # fmt: skip


def _tail(summary: GroupSummary) -> Iterator[Finding]:
    """A tail that is far from the typical call has a cause of its own."""
    latency = summary.latency
    if not has_tail(summary) or latency.tail_ms < 2 * latency.typical_ms:
        return
    more = latency.tail_ms - latency.typical_ms
    worst = max(summary.stages, key=lambda one: one.excess_ms)
    share = min(1.0, worst.excess_ms / more)  # other stages may have less than typically
    if share >= 0.3:
        part = f"{percent(share)} of that" if share < 0.995 else "all of that"
        text = (
            f"the slowest 1 % take {ms(latency.tail_ms)} in the mean, {ms(more)} more than a "
            f"typical call; {part} is `{worst.label}` "
            f"({ms(worst.typical_ms)} → {ms(worst.tail_ms)})"
        )
        yield Finding("tail", min(0.9, more / latency.tail_ms * share), text,
                      _lever(summary, worst.key), worst.key, worst.excess_ms, "ms")  # fmt: skip


def _unseen(summary: GroupSummary) -> Iterator[Finding]:
    if summary.without_triton > 0.05 * summary.calls:
        share = summary.without_triton / summary.calls
        text = (
            f"{percent(share)} of the calls have no span of Triton: its steps cannot be told "
            "apart there"
        )
        yield Finding("unseen", 0.05, text, value=share)


_RULES: tuple[Callable[[GroupSummary], Iterator[Finding]], ...] = (
    batch_wait,
    admission,
    step_queue,
    _step_compute,
    _copies,
    _between_steps,
    _triton_network,
    _client_network,
    _retries,
    _gateway,
    _tail,
    trend,
    batching_pays,
    _unseen,
)
