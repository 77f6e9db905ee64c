"""One inference: what is sent to which Triton, and what may come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from gateway.errors import DeadlineExceeded, ModelContractBroken
from gateway.inference.asking import Asker
from gateway.inference.runner import ServedRelease, Tensors
from gateway.telemetry.failed_requests import FailedRequest, TellFailed
from gateway.telemetry.trace_context import TRACEPARENT
from gateway.telemetry.tracing import InferenceTrace
from gateway.triton.client import TritonClient
from gateway.triton.declared import DeclaredOutputs
from gateway.triton.errors import translating_triton_errors
from gateway.triton.tensors import MalformedTensor, arrays_to_request, response_to_arrays


class Exchange:
    """Asks Triton, until one has answered with sense.

    Args:
        asker: Chooses who is asked, and who is asked again.
        tell_failed: Is told of each request that Triton traces and has failed.
    """

    def __init__(self, asker: Asker, tell_failed: TellFailed = lambda request: None) -> None:
        self._asker = asker
        self._tell_failed = tell_failed
        self._declared: dict[str, DeclaredOutputs] = {}

    def forget(self) -> None:
        """Look anew at what releases say of their outputs."""
        self._declared = {}

    async def ask(
        self,
        release: ServedRelease,
        tensors: Tensors,
        outputs: Sequence[str] | None,
        end: float,
        trace: InferenceTrace,
        serving: Callable[[], Sequence[TritonClient]],
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Ask a Triton, and another one where that gives no answer or a senseless one.

        Args:
            release: Answers.
            tensors: Its inputs, by name.
            outputs: The names of those that are wanted; ``None``: all.
            end: When the time is over, by ``time.monotonic``.
            trace: Of the inference; it is ended.
            serving: Tells who can be asked.

        Returns:
            The outputs, by name.
        """
        headers: dict[str, str] | None = None
        asked = 0
        model = release.model_name
        rows = len(next(iter(tensors.values())))

        async def send(client: TritonClient) -> dict[str, npt.NDArray[np.generic]]:
            nonlocal headers, asked
            request = arrays_to_request(model, tensors, outputs)
            # What is left of the deadline goes on as gRPC's own: Triton may drop what is late
            # between two steps. Its request parameter `timeout` would be heeded by a dynamic
            # batcher only.
            timeout_s = end - time.monotonic()
            if timeout_s <= 0:
                raise DeadlineExceeded(release.line)
            if headers is None:  # one span for all attempts
                headers = trace.ask(model, client.target)
            else:
                trace.ask_again(client.target)
            attempt, asked = asked, asked + 1
            request.id = headers.get(TRACEPARENT, "")
            is_loaded = partial(client.is_loaded, model)
            async with translating_triton_errors(release.line, release.release, is_loaded):
                response = await client.infer(request, timeout_s=timeout_s, headers=headers)
                answer = self._checked(response, release, model, outputs, rows)
            if asked > 1:
                trace.answered_by(attempt)
            return answer

        key = (release.line, release.release)
        try:
            answer = await self._asker.ask(key, serving, send, end, rows)
        except BaseException as error:  # as Triton says it, before it is translated
            if headers is not None:
                said = isinstance(error.__cause__, grpc.RpcError | MalformedTensor)
                trace.end(error.__cause__ if said else error)
                self._tell(headers.get(TRACEPARENT), error)
            raise
        trace.end()
        return answer

    def _tell(self, traceparent: str | None, error: BaseException) -> None:
        """Tell of a request that Triton traces, if it is Triton that failed it."""
        said = error.__cause__
        if (
            traceparent
            and isinstance(error, ModelContractBroken)
            and isinstance(said, grpc.RpcError)
        ):
            step, text = error.metadata.get("step", ""), said.details() or ""
            self._tell_failed(FailedRequest(traceparent, said.code().name, text, step))

    def _checked(
        self,
        response: Any,
        release: ServedRelease,
        model: str,
        outputs: Sequence[str] | None,
        rows: int,
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Return what Triton answered.

        Raises:
            MalformedTensor: If it is not what the release says, or not all of what was asked for.
        """
        answer = response_to_arrays(response, rows)
        if response.model_name != model:
            raise MalformedTensor("*", f"they are of the model '{response.model_name}'")
        self._outputs_of(release, model).check(answer)
        for name in outputs or ():
            if name not in answer:
                raise MalformedTensor(name, "it is not there")
        return answer

    def _outputs_of(self, release: ServedRelease, model: str) -> DeclaredOutputs:
        declared = self._declared.get(model)
        if declared is None:
            declared = self._declared[model] = DeclaredOutputs(release.manifest)
        return declared
