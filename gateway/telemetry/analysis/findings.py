"""What a report says in words: what takes the time, the number behind it, what to change.

Each rule looks at the summary of one group and gives at most a few findings. A rule speaks only
when what it has seen is large enough to matter; its thresholds stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.telemetry.analysis import stages as stage_names
from gateway.telemetry.analysis.calls import GroupKey
from gateway.telemetry.analysis.levers import (
    BATCHES,
    FASTER,
    FUSED,
    HEALTHIER_TRITONS,
    IN_FLIGHT,
    INSTANCES,
    MORE_TRITONS,
    NEARER_TRITON,
    SAMPLING,
    WINDOW,
    WORKERS,
    lever_of,
)
from gateway.telemetry.analysis.stages import Kind
from gateway.telemetry.analysis.summary import GroupSummary
from gateway.telemetry.analysis.writing import milliseconds, percent

LEAST_CALLS = 30
"""With fewer calls nothing is concluded."""


@dataclass(frozen=True)
class Finding:
    """One conclusion.

    Attributes:
        rule: Which rule found it.
        weight: How much of the time it is about, in [0, 1]; errors count as 1.
        text: In words, with the number.
        setting: What to change; '' if there is nothing to.
        stage: The stage that it is about, or ''.
        value: The number itself.
        unit: Of the number: ``share``, ``ms`` or ``calls``.
    """

    rule: str
    weight: float
    text: str
    setting: str = ""
    stage: str = ""
    value: float = 0.0
    unit: str = "share"


@dataclass(frozen=True)
class GroupFindings:
    """The findings of one group, the weightiest first."""

    key: GroupKey
    findings: Sequence[Finding]


def find(summary: GroupSummary) -> list[Finding]:
    """Return what there is to say of a group, the weightiest first."""
    found = list(_errors(summary))
    if summary.calls < LEAST_CALLS:
        if summary.calls:
            text = f"{summary.calls} calls are too few to conclude anything: {LEAST_CALLS} at least"
            found.append(Finding("too-few-calls", 0.0, text, SAMPLING, value=summary.calls,
                                 unit="calls"))  # fmt: skip
        return found
    for rule in _RULES:
        found.extend(rule(summary))
    return sorted(found, key=lambda one: -one.weight)


def _errors(summary: GroupSummary) -> Iterator[Finding]:
    failed = sum(summary.errors.values())
    if not failed:
        return
    share = failed / (failed + summary.calls)
    kinds = ", ".join(f"{count}× {name}" for name, count in summary.errors.items())
    steps = ", ".join(f"{count}× in step `{name}`" for name, count in summary.failed_steps.items())
    text = f"{percent(share)} of the calls failed ({kinds}{'; ' + steps if steps else ''})"
    yield Finding("errors", 1.0, text, value=share)


def _batch_wait(summary: GroupSummary) -> Iterator[Finding]:
    """Waiting in the batcher is worth it only if the batches become large."""
    stage = summary.stage(stage_names.QUEUE.key)
    effect = summary.batching
    if stage is None or effect is None or stage.tail_share < 0.15:
        return
    saved = _saved_ms(summary)
    text = (
        f"{percent(stage.tail_share)} of p99 ({_ms(stage.tail_ms)} of "
        f"{_ms(summary.latency.tail_ms)}) is waiting in the batcher at mean batch "
        f"{effect.mean_calls:.1f}: "
    )
    if effect.mean_calls < 2 or (saved is not None and saved < stage.mean_ms):
        text += "the batch window is longer than it pays"
        if saved is not None:
            text += f" (it waits {_ms(stage.mean_ms)} to save {_ms(max(saved, 0))} of the model)"
        setting = WINDOW
    else:
        text += "calls wait for the batches before them, so for the model, not for the window"
        setting = INSTANCES
    yield Finding("batch-wait", stage.tail_share, text, setting, stage.key, stage.tail_share)


def _saved_ms(summary: GroupSummary) -> float | None:
    """Return what a call saves of the model's time by not going alone, in ms."""
    effect = summary.batching
    if effect is None or effect.fixed_ms is None or effect.mean_rows <= 1:
        return None
    return max(effect.fixed_ms, 0.0) * (1 - 1 / effect.mean_rows)


def _admission(summary: GroupSummary) -> Iterator[Finding]:
    stage = summary.stage(stage_names.ADMISSION.key)
    if stage is None or stage.tail_share < 0.1 or stage.tail_ms < 0.5:
        return
    triton = sum(one.tail_ms for one in summary.stages if one.step and one.kind == Kind.QUEUE)
    text = f"{percent(stage.tail_share)} of p99 ({_ms(stage.tail_ms)}) is waiting for admission, "
    if triton > 0.25 * stage.tail_ms:
        text += f"and Triton's own queues are not empty ({_ms(triton)}): Triton is full"
        setting = INSTANCES
    else:
        text += f"while Triton's queues are nearly empty ({_ms(triton)}): let more calls in"
        setting = IN_FLIGHT
    yield Finding("admission", stage.tail_share, text, setting, stage.key, stage.tail_share)


def _step_queue(summary: GroupSummary) -> Iterator[Finding]:
    use = {one.step: one for one in summary.steps}
    for stage in summary.stages:
        if not stage.key.endswith(".queue") or stage.tail_share < 0.1 or stage.tail_ms < 0.3:
            continue
        text = (
            f"step `{stage.step}` queues {_ms(stage.mean_ms)} on average, "
            f"{_ms(stage.tail_ms)} in the slowest 1 %"
        )
        seen = use.get(stage.step)
        if seen is not None:
            on = "one instance" if seen.at_a_time == 1 else f"{seen.at_a_time} instances"
            text += f", on {on} busy {percent(seen.busy)} of the time"
        text += ": add instances"
        yield Finding(
            "step-queue", stage.tail_share, text, INSTANCES, stage.key, stage.mean_ms, "ms"
        )


def _step_compute(summary: GroupSummary) -> Iterator[Finding]:
    for stage in summary.stages:
        if stage.key.endswith(".infer") and stage.share >= 0.4:
            text = (
                f"step `{stage.step}` computes {_ms(stage.mean_ms)}, {percent(stage.share)} of "
                "the time: only a faster model or a faster machine helps"
            )
            yield Finding("step-compute", stage.share, text, FASTER, stage.key, stage.share)


def _copies(summary: GroupSummary) -> Iterator[Finding]:
    parts = [one for one in summary.stages if one.key.endswith((".input", ".output"))]
    share = sum(one.share for one in parts)
    if share >= 0.1 and parts:
        worst = max(parts, key=lambda one: one.share)
        text = (
            f"{percent(share)} of the time goes into handing tensors to the steps and back, most "
            f"of it in `{worst.step}` ({_ms(worst.mean_ms)}): one fused model hands none between"
        )
        yield Finding("copies", share, text, FUSED, worst.key, share)


def _between_steps(summary: GroupSummary) -> Iterator[Finding]:
    share = sum(
        one.share for one in summary.stages
        if one.key == stage_names.ENSEMBLE.key or one.key.endswith(".other")
    )  # fmt: skip
    if share >= 0.12:
        ms = share * summary.latency.mean_ms
        text = (
            f"{percent(share)} of the time ({_ms(ms)}) passes between the steps of the ensemble: "
            "fused into one model they need no scheduling"
        )
        yield Finding("between-steps", share, text, FUSED, stage_names.ENSEMBLE.key, share)


def _networks(summary: GroupSummary) -> Iterator[Finding]:
    for stage, who, what, setting in (
        (stage_names.TRITON_NETWORK, "the gateway and Triton",
         "the way, gRPC and their event loops", NEARER_TRITON),
        (stage_names.CLIENT_NETWORK, "the client and the gateway",
         "the way, gRPC, and waiting for their event loops", WORKERS),
    ):  # fmt: skip
        seen = summary.stage(stage.key)
        if seen is not None and seen.tail_share >= 0.25:
            text = (
                f"{percent(seen.tail_share)} of p99 ({_ms(seen.tail_ms)}; {_ms(seen.typical_ms)} "
                f"in a typical call) passes between {who}: {what}"
            )
            yield Finding("network", seen.tail_share, text, setting, seen.key, seen.tail_share)


def _retries(summary: GroupSummary) -> Iterator[Finding]:
    """Tritons that fail or hang cost those who are asked again."""
    stage = summary.stage(stage_names.RETRY.key)
    if stage is not None and stage.tail_share >= 0.1:
        text = (
            f"{percent(stage.tail_share)} of p99 ({_ms(stage.tail_ms)}) went to Tritons that gave "
            "no answer, before another one was asked"
        )
        yield Finding("retries", stage.tail_share, text, HEALTHIER_TRITONS, stage.key,
                      stage.tail_share)  # fmt: skip


def _gateway(summary: GroupSummary) -> Iterator[Finding]:
    own = [summary.stage(one.key) for one in
           (stage_names.GATEWAY, stage_names.DECODE, stage_names.ENCODE)]  # fmt: skip
    seen = [one for one in own if one is not None]
    share = sum(one.tail_share for one in seen)
    if share >= 0.3:
        worst = max(seen, key=lambda one: one.tail_share)
        tail_ms = sum(one.tail_ms for one in seen)
        text = (
            f"{percent(share)} of p99 ({_ms(tail_ms)}) is the gateway's own work, most of it "
            f"in `{worst.label}`: its processor is busy with other calls too"
        )
        yield Finding("gateway", share, text, WORKERS, worst.key, share)


def _tail(summary: GroupSummary) -> Iterator[Finding]:
    """A tail that is far from the typical call has a cause of its own."""
    latency = summary.latency
    if not summary.stages or latency.tail_ms < 2 * latency.typical_ms:
        return
    more = latency.tail_ms - latency.typical_ms
    worst = max(summary.stages, key=lambda one: one.excess_ms)
    share = worst.excess_ms / more
    if share >= 0.3:
        text = (
            f"the slowest 1 % take {_ms(more)} more than a typical call; {percent(share)} of "
            f"that is `{worst.label}` ({_ms(worst.typical_ms)} → {_ms(worst.tail_ms)})"
        )
        yield Finding("tail", min(0.9, more / latency.tail_ms * share), text,
                      lever_of(worst.key), worst.key, worst.excess_ms, "ms")  # fmt: skip


def _warming(summary: GroupSummary) -> Iterator[Finding]:
    line = summary.timeline
    if line is None or len(line.p50_ms) < 9 or summary.is_stream:
        return
    known = [one for one in line.p50_ms if one == one]
    third = len(known) // 3
    first, middle, last = (sorted(part)[len(part) // 2] for part in
                           (known[:third], known[third:-third], known[-third:]))  # fmt: skip
    if last > 1.5 * first and last > 1.2 * middle:
        text = (
            f"latency grows: p50 is {_ms(first)} in the first third and {_ms(last)} in the last; "
            "more comes in than is served, or the machine is shared"
        )
        yield Finding("growing", 0.6, text, f"{MORE_TRITONS}; {WORKERS}", value=last / first)
    elif first > 1.5 * last and first > 1.2 * middle:
        text = (
            f"p50 is {_ms(first)} in the first third and {_ms(last)} in the last: it was still "
            "warming up, so leave the beginning out of comparisons"
        )
        yield Finding("warming", 0.1, text, value=first / last)


def _batching_pays(summary: GroupSummary) -> Iterator[Finding]:
    effect = summary.batching
    if effect is None or effect.fixed_ms is None or effect.per_row_ms is None:
        return
    if any(_batch_wait(summary)):  # it speaks of the same, and not of larger batches
        return
    if effect.fixed_ms > 2 * max(effect.per_row_ms, 0.0) and effect.mean_rows < 4:
        text = (
            f"the model takes {_ms(effect.fixed_ms)} and {_ms(max(effect.per_row_ms, 0))} for "
            f"each row, at {effect.mean_rows:.1f} rows a batch: larger batches cost little"
        )
        yield Finding("batching-pays", 0.2, text, BATCHES,
                      value=effect.fixed_ms, unit="ms")  # fmt: skip


def _unseen(summary: GroupSummary) -> Iterator[Finding]:
    if summary.without_triton > 0.05 * summary.calls:
        share = summary.without_triton / summary.calls
        text = (
            f"{percent(share)} of the calls have no span of Triton: its steps cannot be told "
            "apart there"
        )
        yield Finding("unseen", 0.05, text, value=share)


_RULES: tuple[Callable[[GroupSummary], Iterator[Finding]], ...] = (
    _batch_wait,
    _admission,
    _step_queue,
    _step_compute,
    _copies,
    _between_steps,
    _networks,
    _retries,
    _gateway,
    _tail,
    _warming,
    _batching_pays,
    _unseen,
)


def _ms(value: float) -> str:
    return f"{milliseconds(value)} ms"
