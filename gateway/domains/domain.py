"""What the three domains have in common: the shape that transports work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy.typing as npt
from trident.common.v1.served_by_pb2 import ServedBy

from gateway.domains.validation import Violations
from gateway.errors import ModelContractBroken
from triton_models.release import Manifest
from triton_models.signatures import SIGNATURES

Tensors = dict[str, npt.NDArray[Any]]
Answer = Mapping[str, npt.NDArray[Any]]

RequestT = TypeVar("RequestT", contravariant=True)
ResponseT = TypeVar("ResponseT")


class Domain(Protocol[RequestT, ResponseT]):
    """One domain; the modules ``recommend``, ``diagnose`` and ``risk`` are its instances."""

    def check(self, request: RequestT, violations: Violations) -> str | None:
        """Check what does not depend on a release; return the line that answers.

        ``None`` if the request does not even say that, which is then a violation.
        """
        ...

    def sticky_key(self, request: RequestT) -> str:
        """Return what keeps a caller on one release when traffic is split."""
        ...

    def check_schema(self, request: RequestT, manifest: Manifest, violations: Violations) -> None:
        """Check what the release decides: names, kinds, ranges."""
        ...

    def requests_to_tensors(self, requests: Sequence[RequestT], manifest: Manifest) -> Tensors:
        """Return the inputs of the release for checked requests, one row each."""
        ...

    def wanted_outputs(self, requests: Sequence[RequestT]) -> tuple[str, ...]:
        """Return the outputs that the answers need."""
        ...

    def tensors_to_responses(
        self, answer: Answer, requests: Sequence[RequestT], manifest: Manifest, served_by: ServedBy
    ) -> list[ResponseT]:
        """Return one response for each row of the answer."""
        ...


def check_answer(answer: Answer, rows: int, manifest: Manifest, names: Sequence[str]) -> None:
    """Check that an answer has what was asked for, before anything reads it.

    Raises:
        ModelContractBroken: If an output is missing, or has another rank or number of rows.
    """
    signature = SIGNATURES[manifest.line]
    axes = {spec.name: len(spec.axes) + 1 for spec in signature.outputs}
    for name in names:
        tensor = answer.get(name)
        if tensor is None or tensor.ndim != axes[name] or tensor.shape[0] != rows:
            raise ModelContractBroken(manifest.line, manifest.release)
