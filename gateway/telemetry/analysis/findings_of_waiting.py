"""What a report says of waiting: for a batch to leave, for admission, for an instance."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.telemetry.analysis import stages as stage_names
from gateway.telemetry.analysis.batching import LONGEST_WINDOW_MS
from gateway.telemetry.analysis.finding import (
    MANY_AT_A_TIME,
    Finding,
    has_tail,
    is_fused,
    ms,
    portion_of,
)
from gateway.telemetry.analysis.levers import (
    FASTER,
    FASTER_MACHINE,
    IN_FLIGHT,
    INSTANCES,
    LONGER_WINDOW,
    SHORTER_WINDOW,
)
from gateway.telemetry.analysis.stages import Kind
from gateway.telemetry.analysis.summary import GroupSummary
from gateway.telemetry.analysis.writing import percent

_MOSTLY = 0.6
"""What is said to be the cause has so much of the wait: far enough from a half that two runs of the
same load are not told the opposite."""
_WINDOW_MS = 0.5
"""A shorter wait with nothing under way is the event loop's as likely as the window's."""
_PAYS = 0.5
"""A window does not pay if it saves less than this share of what it takes."""


def batch_wait(summary: GroupSummary) -> Iterator[Finding]:
    """Say what calls wait for before they leave: a window is one thing, batches are another."""
    effect, key = summary.batching, stage_names.QUEUE.key
    portion = portion_of(summary, key)
    if effect is None or portion.share < 0.15:
        return
    reason, setting = queue_reason(summary)
    text = f"{portion.text} is waiting in the batcher at mean batch {effect.mean_calls:.1f}"
    yield Finding("batch-wait", portion.share, f"{text}: {reason}", setting, key, portion.share)


def queue_reason(summary: GroupSummary) -> tuple[str, str]:
    """Return what calls wait for in the batcher, in words, and the setting to change."""
    effect = summary.batching
    if effect is None:
        return "what for the traces do not tell", ""
    if effect.behind_share >= _MOSTLY:
        # A second batch leaves beside one that is under way only if many calls wait for it.
        many = summary.at_a_time >= MANY_AT_A_TIME
        return (
            f"{percent(effect.behind_share)} of the wait is for batches before them, so for the "
            "model, not for the window",
            INSTANCES if many else FASTER_MACHINE if is_fused(summary) else FASTER,
        )
    if effect.window_share < _MOSTLY or effect.window_ms < _WINDOW_MS:
        return (
            f"no one cause explains it: {percent(effect.behind_share)} of the wait is for batches "
            f"before them that were traced, {percent(effect.window_share)} may be for others to "
            f"come (with a window of {LONGEST_WINDOW_MS:.0f} ms, the default), the rest is neither",
            "",
        )
    saved = _saved_ms(summary)
    takes = f"takes {ms(effect.window_ms)} of a call"
    if saved is None and effect.mean_calls < 2:
        return f"the window {takes}, and hardly any call comes in it", SHORTER_WINDOW
    if saved is not None and saved < _PAYS * effect.window_ms:
        return (
            f"the batch window is longer than it pays (it {takes} to save {ms(saved)} of the "
            "model)",
            SHORTER_WINDOW,
        )
    return f"the window {takes}, which is about what larger batches save", ""


def _saved_ms(summary: GroupSummary) -> float | None:
    """Return what a call saves of the model's time by not going alone, in ms."""
    effect = summary.batching
    # A line that begins below zero was laid through a few odd sizes: it says nothing.
    if effect is None or effect.fixed_ms is None or effect.fixed_ms <= 0 or effect.mean_rows <= 1:
        return None
    return effect.fixed_ms * (1 - 1 / effect.mean_rows)


def batching_pays(summary: GroupSummary) -> Iterator[Finding]:
    """Say that calls could travel together, where a longer window could bring that about.

    A call waits for others only with nothing under way, and only if others usually are there.
    """
    effect = summary.batching
    if effect is None or effect.fixed_ms is None or effect.per_row_ms is None:
        return
    if any(batch_wait(summary)):  # it speaks of the same
        return
    lonely = effect.mean_calls < 2.5 and effect.free_share >= _MOSTLY and summary.at_a_time >= 4
    if lonely and effect.fixed_ms > 2 * max(effect.per_row_ms, 0.0):
        text = (
            f"the model takes {ms(effect.fixed_ms)} and {ms(max(effect.per_row_ms, 0))} for "
            f"each row, and {percent(effect.free_share)} of the calls leave with nothing under "
            f"way, {effect.mean_calls:.1f} at a time: larger batches cost little"
        )
        yield Finding("batching-pays", 0.2, text, LONGER_WINDOW,
                      value=effect.fixed_ms, unit="ms")  # fmt: skip


def admission(summary: GroupSummary) -> Iterator[Finding]:
    """Say whether Triton is full, or the gateway lets too few calls in."""
    key = stage_names.ADMISSION.key
    portion = portion_of(summary, key)
    if portion.share < 0.1 or portion.ms < 0.5:
        return
    queues = [one.key for one in summary.stages if one.step and one.kind == Kind.QUEUE]
    triton_ms = portion_of(summary, *queues).ms
    text = f"{portion.text} is waiting for admission, "
    if triton_ms > 0.25 * portion.ms:
        text += f"and Triton's own queues are not empty ({ms(triton_ms)}): Triton is full"
        setting = INSTANCES
    else:
        text += f"while Triton's queues are nearly empty ({ms(triton_ms)}): let more calls in"
        setting = IN_FLIGHT
    yield Finding("admission", portion.share, text, setting, key, portion.share)


def step_queue(summary: GroupSummary) -> Iterator[Finding]:
    """Say which steps have too few instances."""
    use = {one.step: one for one in summary.steps}
    for stage in summary.stages:
        portion = portion_of(summary, stage.key)
        if not stage.key.endswith(".queue") or portion.share < 0.1 or portion.ms < 0.3:
            continue
        text = f"step `{stage.step}` queues {ms(stage.mean_ms)} on average"
        if has_tail(summary):
            text += f", {ms(stage.tail_ms)} in the slowest 1 %"
        seen = use.get(stage.step)
        if seen is not None:
            on = "one instance" if seen.at_a_time == 1 else f"{seen.at_a_time} instances"
            text += f", on {on} busy {percent(seen.busy)} of the time"
        text += ": add instances"
        yield Finding("step-queue", portion.share, text, INSTANCES, stage.key, stage.mean_ms, "ms")
