"""A budget of latency: what a file says that calls may take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gateway.telemetry.analysis.writing import nearest

Ms = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

_STRICT = ConfigDict(extra="forbid", frozen=True)


class InvalidBudget(Exception):
    """A budget that cannot be used; every violation is in the message."""

    def __init__(self, path: Path, violations: dict[str, str]) -> None:
        lines = [f"{place}: {text}" if place else text for place, text in violations.items()]
        super().__init__(f"{path} is no budget:\n  " + "\n  ".join(lines))
        self.violations = violations


class Limits(BaseModel):
    """What something may take, in ms."""

    model_config = _STRICT

    mean_ms: Ms | None = None
    p50_ms: Ms | None = None
    p95_ms: Ms | None = None
    p99_ms: Ms | None = None


class StageLimits(Limits):
    """What stages may take together."""

    share: Share | None = None
    """Of all the time of all calls, in [0, 1]."""

    share_of_p99: Share | None = None
    """Of the time of the slowest 1 % of calls, in [0, 1]."""

    @model_validator(mode="after")
    def _says_something(self) -> StageLimits:
        if not self.model_fields_set:
            raise ValueError("must set a limit: mean_ms, p50_ms, p95_ms, p99_ms, share or "
                             "share_of_p99")  # fmt: skip
        return self


class CallLimits(Limits):
    """What the calls of some RPCs and releases may take."""

    rpc: str = "*"
    """``RiskService/ScoreRisk`` or ``ScoreRisk``; ``*`` stands for anything, as in file names."""

    line: str = "*"
    """Such as ``score-risk``."""

    release: str = "*"
    """Each that matches must keep the budget for itself."""

    error_share: Share | None = None
    """Share of calls that may fail."""

    stages: dict[str, StageLimits] = Field(default_factory=dict)
    """By a stage's key (``step.score.queue``, ``step.*.queue``) or the kind of several:
    ``queue``, ``service``, ``transport``, ``overhead``."""

    optional: bool = False
    """Whether it is well if no call matches."""

    @model_validator(mode="after")
    def _says_something(self) -> CallLimits:
        limits = self.model_fields_set - {"rpc", "line", "release", "optional"}
        if not limits:
            raise ValueError("must set a limit: mean_ms, p50_ms, p95_ms, p99_ms, error_share or "
                             "stages")  # fmt: skip
        return self


class Budget(BaseModel):
    """The whole file."""

    model_config = _STRICT

    min_calls: int = Field(default=100, ge=1)
    """With fewer answered calls nothing is said of an RPC and release."""

    budgets: tuple[CallLimits, ...]

    @field_validator("budgets", mode="before")
    @classmethod
    def _holds_one(cls, value: Any) -> Any:
        if value == []:
            raise ValueError("must hold at least one")
        return value


def read_budget(path: Path) -> Budget:
    """Return the budget of a YAML file.

    Raises:
        InvalidBudget: With everything that is wrong.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidBudget(path, {"": " ".join(str(error).split())}) from error
    try:
        return Budget.model_validate(content)
    except ValidationError as error:
        violations = {".".join(map(str, one["loc"])): _text(one) for one in error.errors()}
        raise InvalidBudget(path, violations) from error


_AT_DEPTH: dict[int, type[BaseModel]] = {1: Budget, 3: CallLimits, 5: StageLimits}
"""Whose key one is that is so deep: ``min_calls``, ``budgets.0.rpc``,
``budgets.0.stages.queue.share``."""


def _text(fault: Mapping[str, Any]) -> str:
    """Return what is wrong; of a key that there is not, also which keys there are."""
    if fault["type"] != "extra_forbidden":
        return str(fault["msg"]).removeprefix("Value error, ")
    place = fault["loc"]
    keys = list(_AT_DEPTH[len(place)].model_fields)
    return f"there is no such key; {nearest(str(place[-1]), keys)}keys are {', '.join(keys)}"
