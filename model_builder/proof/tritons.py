"""The models of a release on a Triton, asked with nothing but Triton's own client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from model_builder.errors import ProofFailed
from triton_models.release import Manifest

Tensors = Mapping[str, npt.NDArray[Any]]

_LOAD_S = 300.0
_ASK_S = 120.0


class ReleaseOnTriton:
    """Loads what a release is made of, and unloads what it loaded on leaving.

    Args:
        target: Where Triton listens, ``host:port``; it must be in explicit mode.
        manifest: Of the release, which Triton's repository must have.
    """

    def __init__(self, target: str, manifest: Manifest) -> None:
        self._target = target
        self._manifest = manifest
        self._client = triton.InferenceServerClient(target)
        self._brought: list[str] = []

    @property
    def models(self) -> dict[str, str]:
        """What answers for the release: the Triton model by its variant."""
        return {variant: self._manifest.model_of(variant) for variant in self._manifest.variants}

    def __enter__(self) -> ReleaseOnTriton:
        try:
            for model in self.models.values():
                if not self._client.is_model_ready(model):
                    self._client.load_model(model, client_timeout=_LOAD_S)
                    self._brought.append(model)
        except InferenceServerException as error:
            self._leave()
            raise ProofFailed(
                f"Triton at {self._target} cannot load {model}: {_one_line(error)}"
            ) from error
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        for model in self._brought:
            with suppress(InferenceServerException):  # what is left only takes up room
                self._client.unload_model(model, unload_dependents=True)
        self._client.close()

    def ask(self, variant: str, inputs: Tensors, outputs: Iterable[str]) -> dict[str, Any]:
        """Return the outputs of one inference by name; texts as ``str``.

        Raises:
            ProofFailed: If Triton refuses.
        """
        model = self.models[variant]
        asked = []
        for name, array in inputs.items():
            given = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            given.set_data_from_numpy(array)
            asked.append(given)
        wanted = [triton.InferRequestedOutput(name) for name in outputs]
        try:
            answer = self._client.infer(model, asked, outputs=wanted, client_timeout=_ASK_S)
        except InferenceServerException as error:
            raise ProofFailed(f"{model} does not answer: {_one_line(error)}") from error
        found = {one.name(): answer.as_numpy(one.name()) for one in wanted}
        if missing := [name for name, array in found.items() if array is None]:
            raise ProofFailed(f"{model} gives no {', '.join(missing)}")
        return {
            name: np.vectorize(bytes.decode, otypes=[object])(array)
            if array.dtype == object and array.size
            else array
            for name, array in found.items()
        }

    def time_ms(self, variant: str, inputs: Tensors, outputs: Iterable[str]) -> float:
        """Return how long one inference takes, in milliseconds."""
        outputs = list(outputs)
        start_s = time.perf_counter()
        self.ask(variant, inputs, outputs)
        return (time.perf_counter() - start_s) * 1000


def _one_line(error: InferenceServerException) -> str:
    return " ".join(str(error.message()).split()).rstrip(".")
