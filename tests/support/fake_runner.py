"""A runner without Triton, a trace that only remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from manifests import CATALOGUE, manifest

from gateway.errors import ModelUnavailable
from gateway.inference.priority import SHARED, Turn
from gateway.inference.runner import RouteState, ServedRelease, Tensors
from gateway.telemetry.parties import Answerer
from gateway.telemetry.passage import Passage
from gateway.telemetry.record import Stage
from gateway.telemetry.span import ALL_BITS
from triton_models.release import Manifest
from triton_models.signatures import (
    RULE_CLIPPED_TO_MAXIMUM,
    RULE_CLIPPED_TO_MINIMUM,
    RULE_IMPUTED,
    RULE_NONE,
    RULE_UNKNOWN_AS_MISSING,
    SIGNATURES,
)

Outputs = dict[str, np.ndarray[Any, Any]]

WITHOUT_IMAGES = [line for line in SIGNATURES if line not in ("diagnose-image", "diagnose-note")]
"""The lines that are served where a test says nothing else."""


@dataclass
class RecordingInference:
    """What a request to Triton told its trace."""

    rows: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    errors: list[BaseException | None] = field(default_factory=list)

    def admitted(self) -> None:
        self.told.append("admitted")

    def ask(self, model: str, target: str = "") -> dict[str, str]:
        self.told.append("asked")
        self.models.append(model)
        self.targets.append(target)
        return self.headers

    def ask_again(self, target: str) -> None:
        self.targets.append(target)

    def answered_by(self, attempt: int) -> None:
        self.answered.append(attempt)

    def end(self, error: BaseException | None = None) -> None:
        self.told.append("ended")
        self.errors.append(error)


@dataclass(frozen=True)
class Answers:
    """Which release answers, without all that one has."""

    line: str = "score-risk"
    release: str = "a1"
    variant: str = "ensemble"


@dataclass
class RecordingTrace:
    """What a call told its trace."""

    method: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    peer: str = ""
    stages: list[str] = field(default_factory=list)
    stage_starts: dict[str, int | None] = field(default_factory=dict)
    stage_errors: dict[str, BaseException | str | None] = field(default_factory=dict)
    passages: list[Passage] = field(default_factory=list)
    attributes: dict[str, object] = field(default_factory=dict)
    releases: list[tuple[str, str, str]] = field(default_factory=list)
    inferences: list[RecordingInference] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    error: BaseException | None = None
    fault: bool = False
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    records: bool = True

    def add_stage(
        self, name: str, start_ns: int, end_ns: int, error: BaseException | None = None
    ) -> None:
        self.stages.append(name)
        self.stage_starts[name] = start_ns
        self.stage_errors[name] = error

    def went(self, passage: Passage) -> None:
        """Remember it as the stages that it has."""
        self.passages.append(passage)
        stages: list[Stage] = []
        passage.add_stages(stages, ALL_BITS)
        for name, start_ns, _, error in stages:
            self.stages.append(name)
            self.stage_starts[name] = start_ns
            self.stage_errors[name] = error or None

    def inference(self, rows: int = 1) -> RecordingInference:
        self.inferences.append(RecordingInference(rows))
        return self.inferences[-1]

    def set_release(self, release: Answerer) -> None:
        self.releases.append((release.line, release.release, release.variant))

    def set_attribute(self, name: str, value: object) -> None:
        self.attributes[name] = value

    def finish(self, code: int, error: BaseException | None = None, *, fault: bool = False) -> None:
        self.codes.append(code)
        self.error = error
        self.fault = fault
        self.finished.set()


class RecordingTracing:
    """Remembers every call."""

    def __init__(self) -> None:
        self.calls: list[RecordingTrace] = []

    def start_call(self, caller: Any) -> RecordingTrace:
        self.calls.append(RecordingTrace(caller.method, dict(caller.metadata), caller.peer()))
        return self.calls[-1]

    start_single = start_call

    def shutdown(self) -> None:
        """Nothing is left to send."""


@dataclass
class FakeCall:
    """A call that no transport made."""

    method: str = "trident.risk.v1.RiskService/ScoreRisk"
    metadata: Mapping[str, str] = field(default_factory=dict)
    address: str = "test"
    received_ns: int = 17
    trace: RecordingTrace = field(default_factory=RecordingTrace)
    verdict: None = None
    client: Any = None
    timeout_s: float | None = None
    way: Passage | None = None

    def time_remaining(self) -> float | None:
        return self.timeout_s

    def peer(self) -> str:
        return self.address

    def attributes(self) -> dict[str, Any]:
        return {} if self.client is None else {"enduser.id": self.client.id}

    def who(self) -> str:
        return self.client.id if self.client is not None else self.peer()

    def header(self, key: str) -> str | None:
        return self.metadata.get(key)


@dataclass(frozen=True)
class Asked:
    """One inference that was asked for."""

    release: ServedRelease
    tensors: Tensors
    outputs: tuple[str, ...] | None
    timeout_s: float | None
    turn: Turn = SHARED

    @property
    def rows(self) -> int:
        return len(next(iter(self.tensors.values())))


def route(served: Manifest, *, serving: bool = True, detail: str = "") -> RouteState:
    """A route to a release."""
    return RouteState(
        served.line, served.release, 1.0, serving, detail, served=ServedRelease(served)
    )


class FakeRunner:
    """Answers by signature, at once unless ``hold`` says otherwise."""

    def __init__(self, *manifests: Manifest) -> None:
        self.states = [route(one) for one in manifests or map(manifest, WITHOUT_IMAGES)]
        self.asked: list[Asked] = []
        self.error: Exception | None = None
        self.change: Callable[[Outputs], Outputs] = lambda outputs: outputs
        self.cancelled = 0
        self.running = 0
        self.most_running = 0
        self._hold: asyncio.Event | None = None
        self._moved = asyncio.Condition()

    def hold(self) -> None:
        """Let inferences wait for :meth:`release`."""
        self._hold = asyncio.Event()

    def release(self) -> None:
        assert self._hold is not None
        self._hold.set()

    async def wait(self, reached: Callable[[], bool]) -> None:
        """Wait until something holds that inferences change."""
        async with asyncio.timeout(20), self._moved:
            await self._moved.wait_for(reached)

    def places(self, line: str) -> int:
        return 64

    def only(self, line: str) -> ServedRelease | None:
        states = [state for state in self.states if state.line == line and state.serving]
        return states[0].served if len(states) == 1 else None

    def find(self, line: str, key: str) -> ServedRelease | None:
        try:
            return self.choose(line, key)
        except ModelUnavailable:
            return None

    def choose(self, line: str, key: str) -> ServedRelease:
        states = [state for state in self.states if state.line == line and state.serving]
        if not states:
            raise ModelUnavailable(line, "no release is routed")
        # A split that a test can foresee: keys that end in 'b' go to the second release.
        chosen = states[-1] if key.endswith("b") else states[0]
        assert chosen.served is not None
        return chosen.served

    def routes(self) -> Sequence[RouteState]:
        return self.states

    async def run(
        self,
        release: ServedRelease,
        tensors: Tensors,
        *,
        outputs: Sequence[str] | None = None,
        timeout_s: float | None,
        trace: Any,
        turn: Turn = SHARED,
    ) -> Outputs:
        self.asked.append(
            Asked(
                release, tensors, tuple(outputs) if outputs is not None else None, timeout_s, turn
            )
        )
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self._tell()
            if self._hold is not None:
                await self._hold.wait()
            if self.error is not None:
                raise self.error
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
            await asyncio.shield(self._tell())
        answer = ANSWERS[release.line](tensors, release.manifest)
        return self.change({name: answer[name] for name in outputs or answer})

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()


def recommended(tensors: Tensors, release: Manifest) -> Outputs:
    """The first items of the catalogue that may be recommended."""
    history = tensors["history_item_ids"]
    candidates, excluded = tensors["candidate_item_ids"], tensors["excluded_item_ids"]
    catalogue = [item.encode() for item in CATALOGUE]
    rows, places = len(history), int(tensors["item_count"].max())
    ids = np.full((rows, places), b"", np.object_)
    scores = np.zeros((rows, places), np.float32)
    because = np.full((rows, places, 2), -1, np.int32)
    for row in range(rows):
        allowed = [item for item in candidates[row] if item in catalogue]
        banned = set(excluded[row])
        if not tensors["history_allowed"][row, 0]:
            banned |= set(history[row])
        if not any(candidates[row]):
            allowed = catalogue
        items = [item for item in dict.fromkeys(allowed) if item not in banned][:places]
        ids[row, : len(items)] = items
        scores[row, : len(items)] = 1 / np.arange(2, len(items) + 2)
        known = [place for place, item in enumerate(history[row]) if item in catalogue]
        because[row, : len(items), : len(known[:2])] = known[::-1][:2]
    known_ids = [b"", *catalogue]
    described = {"input_rules": fired_rules(tensors, release)} if release.features else {}
    return {
        **described,
        "item_ids": ids,
        "scores": scores,
        "because_positions": because,
        "history_known": np.isin(history, known_ids),
        "candidate_known": np.isin(candidates, known_ids),
        "excluded_known": np.isin(excluded, known_ids),
    }


def diagnosed(tensors: Tensors, release: Manifest) -> Outputs:
    """The greater the measurements, the more the second label."""
    rules = fired_rules(tensors, release)
    weights = np.nan_to_num(tensors["numbers"]).clip(-100, 100)
    logits = np.stack([0 * weights[:, 0], weights[:, 0] - 15, weights[:, 0] / 20 - 2], axis=1)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    contributions = weights[:, :, None] * np.array([-1, 1, 0.5])
    return {
        "probabilities": probabilities.astype(np.float32),
        "contributions": contributions.astype(np.float32),
        "input_rules": rules,
    }


def looked_at(tensors: Tensors, release: Manifest) -> Outputs:
    """The brighter an image, the more the second label; the evidence lies in its first pixel."""
    bright = tensors["pixels"].mean(axis=(1, 2, 3)) / 255
    saliency = np.zeros((len(bright), 4, 4), np.float32)
    saliency[:, 0, 0] = 1
    return {
        "probabilities": np.stack([(1 - bright) * 0.9, bright, (1 - bright) * 0.1], 1).astype("f4"),
        "unusualness": (bright[:, None] * 1.2).astype(np.float32),
        "saliency": saliency,
    }


def read_note(tensors: Tensors, release: Manifest) -> Outputs:
    """The more tokens, the more the second label; each token counts by its number."""
    ids, mask = tensors["token_ids"], tensors["attention_mask"]
    long = mask.sum(axis=1) / 10
    probabilities = np.stack([1 - long, 0.9 * long, 0.1 * long], axis=1)
    return {
        "probabilities": probabilities.astype(np.float32),
        "unusualness": (long[:, None] * 1.2).astype(np.float32),
        "token_weights": (ids * mask).astype(np.float32),
    }


def scored(tensors: Tensors, release: Manifest) -> Outputs:
    """The younger, the riskier."""
    rules = fired_rules(tensors, release)
    age = np.nan_to_num(tensors["numbers"][:, :1]).clip(18, 90)
    probability = (90 - age) / 100
    contributions = np.zeros(rules.shape, np.float32)
    contributions[:, 0] = (35 - age[:, 0]) / 10
    contributions[:, 1] = 0.25
    contributions[:, 2] = -1
    return {
        "default_probability": probability.astype(np.float32),
        "score": (850 - 550 * probability).astype(np.float32),
        "contributions": contributions,
        "input_rules": rules,
    }


ANSWERS: dict[str, Callable[[Tensors, Manifest], Outputs]] = {
    "recommend": recommended,
    "diagnose-image": looked_at,
    "diagnose-note": read_note,
    "diagnose-measurements": diagnosed,
    "score-risk": scored,
}


def fired_rules(tensors: Tensors, release: Manifest) -> Outputs | Any:
    """What a release would do to its inputs: ``(B, F)`` int32."""
    rows = len(next(iter(tensors.values())))
    rules = np.zeros((rows, len(release.features)), np.int32)
    for place, spec in enumerate(release.features):
        for row in range(rows):
            if spec.kind == "number":
                value = tensors["numbers"][row, release.number_places[spec.name]]
                rules[row, place] = _number_rule(float(value), spec.minimum, spec.maximum)
            else:
                name = tensors["categories"][row, release.category_places[spec.name]].decode()
                unknown = RULE_NONE if name in spec.categories else RULE_UNKNOWN_AS_MISSING
                rules[row, place] = unknown if name else RULE_IMPUTED
    return rules


def _number_rule(value: float, low: float | None, high: float | None) -> int:
    if np.isnan(value):
        return RULE_IMPUTED
    if low is not None and value < low:
        return RULE_CLIPPED_TO_MINIMUM
    if high is not None and value > high:
        return RULE_CLIPPED_TO_MAXIMUM
    return RULE_NONE
