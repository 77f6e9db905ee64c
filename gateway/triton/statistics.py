"""What Triton counts of each step, as metrics of the release that the step is of."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.security.tls import ClientTls
from gateway.security.watching import Watched
from gateway.telemetry.metrics.instruments import (
    STEP_BATCH,
    STEP_DURATION,
    TRITON_FAILURES,
    TRITON_REQUESTS,
    TRITON_UP,
    Instrument,
)
from gateway.telemetry.metrics.readings import Gauges
from gateway.telemetry.metrics.tally import Labels, Tally
from gateway.triton.credentials import channel_credentials, name_options
from triton_models.release import MODEL_NAME

_log = logging.getLogger(__name__)

_TIMEOUT_S = 1.0

_MODEL = re.compile(MODEL_NAME)

_STAGES = ("queue", "compute_input", "compute_infer", "compute_output")

_Key = tuple[Instrument, Labels, float]
"""A histogram, a series of it, and a value that is counted there (0: one bucket for all)."""


class Total(NamedTuple):
    """What Triton has counted since it began."""

    number: int
    sum: float


class TritonStatistics:
    """Asks one Triton for its statistics, and tells what is new in them.

    Args:
        name: Of this Triton, in the metrics.
        target: Where it listens, ``host:port``.
        fresh: Whether all that it has counted is of this gateway; else it is only what it counts
            from the first answer on.
        tls: How TLS is spoken with it; ``None``: plain text.
        host: What its certificate shows; ``None``: the host of ``target``.
    """

    def __init__(
        self,
        name: str,
        target: str,
        *,
        fresh: bool,
        tls: ClientTls | None = None,
        host: str | None = None,
    ) -> None:
        self._name = name
        self._host = host
        self._target = target
        self._tls = tls
        self._channel = self._new_channel()
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        files = tls.files if tls is not None else ()
        self._certificates = Watched(f"Certificates for {target}", files, self._renew)
        self._known: dict[_Key, Total] = {}
        self._begun = fresh

    def take(self) -> tuple[Tally, Gauges]:
        """Return what Triton has counted since the last time; called on a thread."""
        tally = Tally()
        self._certificates.look()
        try:
            request = service_pb2.ModelStatisticsRequest()
            answer = self._stub.ModelStatistics(request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            _log.debug("Triton does not tell its statistics: %s", error)
            return tally, {(TRITON_UP, (self._name,)): 0.0}
        for model in answer.model_stats:
            labels = labels_of_model(model.name)
            if labels is not None:
                for key, total in _totals(model, (self._name, *labels)):
                    self._add(key, total, tally)
        self._begun = True
        return tally, {(TRITON_UP, (self._name,)): 1.0}

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _new_channel(self) -> grpc.Channel:
        options: list[tuple[str, int | str]] = [("grpc.max_receive_message_length", -1)]
        if self._tls is None:
            return grpc.insecure_channel(self._target, options=options)
        options += name_options(self._host)
        return grpc.secure_channel(self._target, channel_credentials(self._tls), options=options)

    def _renew(self) -> None:
        old, self._channel = self._channel, self._new_channel()
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        old.close()

    def _add(self, key: _Key, total: Total, tally: Tally) -> None:
        before = self._known.get(key, Total(0, 0.0))
        self._known[key] = total
        if not self._begun:
            return
        if total.number < before.number:  # it was started again, or the model was loaded again
            before = Total(0, 0.0)
        count, added = total.number - before.number, max(0.0, total.sum - before.sum)
        instrument, labels, value = key
        if instrument.kind == "counter":
            tally.count(instrument, labels, count)
        else:
            counts = np.zeros(len(instrument.grid), np.int64)
            counts[instrument.grid.bins(np.array([value]))] = count
            tally.observe(instrument, labels, counts, added)


def labels_of_model(name: str) -> tuple[str, str, str] | None:
    """Return line, release and step of one of our models; the step of an ensemble is empty."""
    match = _MODEL.fullmatch(name)
    return None if match is None else (match["line"], match["release"], match["step"] or "")


def _totals(model: Any, labels: Labels) -> Iterator[tuple[_Key, Total]]:
    """Yield all that Triton tells of a model.

    Args:
        model: Its ``ModelStatistics``.
        labels: Triton, line, release, step.
    """
    statistics = model.inference_stats
    success = statistics.success
    yield (TRITON_REQUESTS, labels, 0.0), Total(success.count, success.ns / 1e9)
    yield (TRITON_FAILURES, labels, 0.0), Total(statistics.fail.count, 0.0)
    if not labels[-1]:
        return  # an ensemble computes nothing itself
    for stage in _STAGES:
        one = getattr(statistics, stage)
        yield (STEP_DURATION, (*labels, stage), 0.0), Total(one.count, one.ns / 1e9)
    for batch in model.batch_stats:
        rows, executions = int(batch.batch_size), int(batch.compute_infer.count)
        yield (STEP_BATCH, labels, float(rows)), Total(executions, float(rows * executions))
