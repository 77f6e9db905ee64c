"""What must be reached, and what was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.serving.contenders import PEERS, TRANSPORTS
from benchmarks.serving.summary import Spread, Summary

Sense = Literal["≥", "≤"]

MLP, TRANSFORMER = "diagnose", "recommend"
_GATEWAYS = tuple(f"gateway-{transport}" for transport in TRANSPORTS)
MEMORY_MB = 120
FLAT_SHARE = 0.02
"""A worker whose memory grows by more than this from warm to the end is not flat."""


@dataclass(frozen=True)
class Bar:
    """One thing that must be reached.

    Attributes:
        what: In words.
        wanted: As ``≥ 1.1``.
        measured: In words; why there is nothing, if so.
        met: Whether it was reached; None if it was not measured.
    """

    what: str
    wanted: str
    measured: str
    met: bool | None


def bars(summary: Summary, soak: Mapping[str, Any]) -> list[Bar]:
    """Return all of them."""
    return [
        *_layouts(summary),
        *_mlp_on_grpc(summary),
        *_mlp_on_the_best(summary),
        *_transformer(summary),
        *_one_at_a_time(summary),
        *_batch_and_stream(summary),
        *_tracing(summary),
        *_tail(summary),
        *_memory(summary, soak),
    ]


def _layouts(summary: Summary) -> Iterator[Bar]:
    for task in (MLP, TRANSFORMER):
        spread = summary.ratio(task, ("triton-ensemble", 1), ("triton", 1), "p50_us")
        yield _bar(f"{task}: p50 of the ensemble in that of the fused layout", "≥", 2, spread)


def _mlp_on_grpc(summary: Summary) -> Iterator[Bar]:
    for load in (16, 64):
        echo = summary.ratio(MLP, ("gateway-grpc", load), ("echo-grpc", load))
        yield _bar(f"{MLP}, {load} in flight, grpc.aio: of its echo", "≥", 0.85, echo)
        yield _against_peers(summary, MLP, "gateway-grpc", load, 1.6)


def _mlp_on_the_best(summary: Summary) -> Iterator[Bar]:
    for load, wanted, aim in ((64, 1.1, 1.5), (16, 0.7, 1.0)):
        name = summary.best(MLP, _GATEWAYS, load) or _GATEWAYS[0]
        spread = summary.ratio(MLP, (name, load), ("triton", load))
        what = f"{MLP}, {load} in flight, {_label(name)}: of direct Triton (aim {aim})"
        yield _bar(what, "≥", wanted, spread)
        yield _against_peers(summary, MLP, name, load, 3)


def _transformer(summary: Summary) -> Iterator[Bar]:
    name = summary.best(TRANSFORMER, _GATEWAYS, 64) or _GATEWAYS[0]
    spread = summary.ratio(TRANSFORMER, (name, 64), ("triton", 64))
    yield _bar(f"{TRANSFORMER}, 64 in flight, {_label(name)}: of direct Triton", "≥", 1.15, spread)
    for load in (1, 16, 64):
        best = summary.best(TRANSFORMER, _GATEWAYS, load) or _GATEWAYS[0]
        yield _against_peers(summary, TRANSFORMER, best, load, 1)


def _one_at_a_time(summary: Summary) -> Iterator[Bar]:
    for task in (MLP, TRANSFORMER):
        for name in _GATEWAYS:
            spread = summary.ratio(task, (name, 1), ("triton", 1), "p50_us")
            yield _bar(f"{task}, one at a time, {_label(name)}: p50 in Triton's", "≤", 2.2, spread)


def _batch_and_stream(summary: Summary) -> Iterator[Bar]:
    for name in _GATEWAYS:
        unary = summary.ratio(MLP, (f"{name}-batch", 4), (name, 64))
        yield _bar(f"{MLP}, batches of 256, {_label(name)}: rows/s of unary", "≥", 20, unary)
        direct = summary.ratio(MLP, (f"{name}-batch", 4), ("triton-batch", 4))
        yield _bar(f"{MLP}, batches of 256, {_label(name)}: of Triton's", "≥", 0.7, direct)
        stream = summary.ratio(MLP, (f"{name}-stream", 1), (name, 64))
        yield _bar(f"{MLP}, a stream, {_label(name)}: rows/s of unary", "≥", 2, stream)


def _tracing(summary: Summary) -> Iterator[Bar]:
    for name in _GATEWAYS:
        for kind, words, wanted in (
            ("traced-10", "10 % of the calls traced", 0.97),
            ("traced-100", "all calls traced", 0.85),
            ("no-collector", "10 % traced, collector away", 0.97),
        ):
            pair = (f"{name}-{kind}", 64), (name, 64)
            what = f"{MLP}, {words}, {_label(name)}: of untraced"
            yield _bar(what, "≥", wanted, summary.ratio(MLP, *pair))
            alike = summary.ratio_at_a_speed(MLP, *pair)
            yield _bar(f"{what}, the machine as fast", "≥", wanted, alike)
        own = summary.ratio(MLP, (f"{name}-embedded-traced-100", 64), (f"{name}-embedded", 64))
        what = f"{MLP}, embedded, all calls traced, {_label(name)}: of untraced"
        yield _bar(what, "≥", 0.85, own)


def _tail(summary: Summary) -> Iterator[Bar]:
    for task in (MLP, TRANSFORMER):
        for name in _GATEWAYS:
            spread = summary.within(
                task, name, 64, lambda burst: burst["p99_us"] / burst["p50_us"], "open"
            )
            what = f"{task}, 70 % of capacity, {_label(name)}: p99 in p50"
            yield _bar(what, "≤", 3, spread)


def _memory(summary: Summary, soak: Mapping[str, Any]) -> Iterator[Bar]:
    for name in _GATEWAYS:
        spread = summary.within(MLP, name, 64, lambda burst: max(burst["resident_mb"]))
        yield _bar(f"memory of a worker, {_label(name)}, MB", "≤", MEMORY_MB, spread)
    for name in _GATEWAYS:
        what = f"growth of a worker over 1,000,000 requests, {_label(name)}"
        found = soak.get(name)
        if found is None:
            yield Bar(what, f"≤ {FLAT_SHARE:.0%}", "run `soak`", None)
            continue
        growth = found["last_mb"] / found["warm_mb"] - 1
        words = f"{growth:.1%} in {found['requests']:,} requests, to {found['last_mb']:.0f} MB"
        enough = found["requests"] >= 1_000_000
        yield Bar(what, f"≤ {FLAT_SHARE:.0%}", words, growth <= FLAT_SHARE if enough else None)


def _against_peers(summary: Summary, task: str, name: str, load: int, factor: float) -> Bar:
    peer = summary.best(task, PEERS, load)
    what = f"{task}, {load} in flight, {_label(name)}: of the best peer"
    if peer is None:
        return Bar(what, f"≥ {factor:g}", "no peer ran", None)
    found = _bar(what, "≥", factor, summary.ratio(task, (name, load), (peer, load)))
    return Bar(f"{what} ({PEERS[peer].label})", found.wanted, found.measured, found.met)


def _bar(what: str, sense: Sense, wanted: float, spread: Spread | None) -> Bar:
    if spread is None:
        return Bar(what, f"{sense} {wanted:g}", "not measured", None)
    met = spread.median >= wanted if sense == "≥" else spread.median <= wanted
    return Bar(what, f"{sense} {wanted:g}", _with_interval(spread), met)


def shown(spread: Spread) -> str:
    """Return a median with its least and greatest."""
    return f"{_short(spread.median)} [{_short(spread.low)}–{_short(spread.high)}]"


def _with_interval(spread: Spread) -> str:
    """Return the same, with the interval of the median where there are enough rounds."""
    if spread.interval is None:
        return shown(spread)
    low, high = spread.interval
    return f"{shown(spread)}, median 95 % {_short(low)}–{_short(high)}"


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.0f}"


def _label(name: str) -> str:
    return TRANSPORTS[name.removeprefix("gateway-")]
