"""The steps of a release as an ensemble runs them, without a Triton."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy.typing as npt

from model_builder.export.onnx import serialised
from model_builder.export.running import CPU, Arrays, OnnxModel, Provider
from model_builder.task import StepModel


class StepChain:
    """The steps of a release, run one after the other by ONNX Runtime.

    All take the ensemble's inputs, each ``(B, …)``; strings are object arrays of ``str``.

    Args:
        steps: In the order of the work.
        providers: By step, what computes it; of those that are not named, the CPU.
    """

    def __init__(
        self,
        steps: Sequence[StepModel],
        providers: Mapping[str, Sequence[Provider]] = MappingProxyType({}),
    ) -> None:
        self._models = {
            step.name: OnnxModel(serialised(step.model), providers=providers.get(step.name, (CPU,)))
            for step in steps
        }

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Return every tensor that a step gave, by name."""
        made: Arrays = {}
        for _, _, answers in self._worked(inputs):
            made |= answers
        return made

    def given(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Arrays]:
        """Return what reaches each step, by its name."""
        return {name: given for name, given, _ in self._worked(inputs)}

    def _worked(
        self, inputs: Mapping[str, npt.NDArray[Any]]
    ) -> Iterator[tuple[str, Arrays, Arrays]]:
        """Yield each step's name, what it was given, and what it answers."""
        tensors = dict(inputs)
        for name, model in self._models.items():
            given = {each: tensors[each] for each in model.inputs}
            answers = model.run(given)
            tensors |= answers
            yield name, given, answers


def run_steps(steps: Sequence[StepModel], inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Return every tensor that the chained steps give; :class:`StepChain` for many calls."""
    return StepChain(steps).run(inputs)


def given_to_cores(
    steps: Sequence[StepModel], inputs: Mapping[str, npt.NDArray[Any]]
) -> dict[str, Arrays]:
    """Return what of the ensemble's inputs reaches each core, by its name."""
    given = StepChain(steps).given(inputs)
    return {step.name: given[step.name] for step in steps if step.role == "core"}
