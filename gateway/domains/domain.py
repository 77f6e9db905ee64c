"""What the three domains have in common: the shape that transports work with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from gateway.domains.validation import Violations
from gateway.errors import ModelContractBroken
from trident.common.v1.served_by_pb2 import ServedBy
from triton_models.release import Manifest
from triton_models.signatures import ANY, SIGNATURES

Tensors = dict[str, npt.NDArray[Any]]
Answer = Mapping[str, npt.NDArray[Any]]

RequestT = TypeVar("RequestT", contravariant=True)
ResponseT = TypeVar("ResponseT")


class RowRefused(Exception):
    """What a slow row is made of cannot be used."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}")
        self.path = path
        self.text = text


class SlowRow(ABC):
    """A row that is still to be made, which may take long: not where calls are answered."""

    @property
    @abstractmethod
    def quick(self) -> bool:
        """Whether it is made faster than it would be handed to another thread."""

    @abstractmethod
    def made(self) -> Any:
        """Return the row; called on any thread.

        Raises:
            RowRefused: If it cannot be made of what was sent.
        """


class Domain(Protocol[RequestT, ResponseT]):
    """One domain; the modules ``recommend``, ``diagnose`` and ``risk`` are its instances."""

    NAME: str
    """What it is called in settings and metrics."""
    RESPONSE: Any
    """The message of an answer."""

    def line(self, request: RequestT) -> str | None:
        """Return the line that answers, or ``None`` if the request does not even say that."""
        ...

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

    def read(self, request: RequestT, manifest: Manifest) -> Any | None:
        """Return the row of a request that is plainly valid for a release; it may be slow.

        ``None`` if it must be checked, with :meth:`check` and :meth:`check_schema`: it may be
        valid all the same. This is the way of nearly all requests, and must be fast.
        """
        ...

    def row(self, request: RequestT, manifest: Manifest) -> Any:
        """Return the row of a request that was checked; it may be a :class:`SlowRow`."""
        ...

    def width(self, row: Any) -> int:
        """Return how wide a row makes the tensors of its batch: rows of a like go together."""
        ...

    def rows_to_tensors(self, rows: Sequence[Any], manifest: Manifest) -> Tensors:
        """Return the inputs of the release, one row each."""
        ...

    def wanted_outputs(self, requests: Sequence[RequestT]) -> tuple[str, ...]:
        """Return the outputs that the answers need."""
        ...

    def slow_to_write(self, answer: Answer, requests: Sequence[RequestT]) -> bool:
        """Say whether answers may take long to write: not where calls are answered."""
        ...

    def tensors_to_responses(
        self, answer: Answer, requests: Sequence[RequestT], manifest: Manifest, served_by: ServedBy
    ) -> list[ResponseT]:
        """Return one response for each row of the answer."""
        ...


class ColumnDomain(Protocol):
    """A domain that can read plain batches of one line, and write their answers, as columns."""

    NAME: str
    """What it is called in settings and metrics."""
    BATCH_LINE: str
    """The line whose requests may be read so."""
    PLAIN_OUTPUTS: tuple[str, ...]
    """The outputs that the answers need."""

    def read_batch(self, data: bytes, manifest: Manifest) -> Tensors | None:
        """Return the inputs for a serialised batch, or ``None`` if it must be parsed."""
        ...

    def write_batch(
        self, answer: Answer, tensors: Tensors, manifest: Manifest, served_by: ServedBy
    ) -> bytes:
        """Return the serialised responses to what :meth:`read_batch` has read."""
        ...


def requests_to_tensors(domain: Any, requests: Sequence[Any], manifest: Manifest) -> Tensors:
    """Return the inputs of a release for checked requests of a domain, one row each."""
    rows = [domain.row(request, manifest) for request in requests]
    made = [row.made() if isinstance(row, SlowRow) else row for row in rows]
    return domain.rows_to_tensors(made, manifest)  # type: ignore[no-any-return]


_OUTPUTS = {
    line: {spec.name: spec for spec in signature.outputs} for line, signature in SIGNATURES.items()
}


def check_answer(
    answer: Answer, names: Sequence[str], manifest: Manifest, sizes: Mapping[str, int]
) -> None:
    """Check that an answer has what was asked for, before anything reads it.

    Args:
        answer: Outputs by name.
        names: The outputs that were asked for.
        manifest: Of the release that answered.
        sizes: How long the axes must be, by their letter (``B`` is the batch). Axes that are not
            named here, or sized in the signature, must only be alike in all outputs.

    Raises:
        ModelContractBroken: If an output is missing, has another type or shape, or holds a number
            that is not finite.
    """
    specs = _OUTPUTS[manifest.line]
    known = dict(sizes)
    for name in names:
        tensor, spec = answer.get(name), specs[name]
        if tensor is None or tensor.dtype != spec.dtype or tensor.ndim != len(spec.axes) + 1:
            raise ModelContractBroken(manifest.line, manifest.release)
        fits = tensor.shape[0] == sizes["B"] and all(
            size == (known.setdefault(axis.letter, size) if axis.size == ANY else axis.size)
            for axis, size in zip(spec.axes, tensor.shape[1:], strict=True)
        )
        if not fits or (spec.data_type == "FP32" and not np.isfinite(tensor).all()):
            raise ModelContractBroken(manifest.line, manifest.release)
