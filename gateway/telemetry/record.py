"""What is known of a call when it has ended: for spans that are built late, and for metrics."""

from __future__ import annotations

from collections.abc import Callable

from google.rpc import code_pb2

DECODE, QUEUE, ENCODE = "decode", "queue", "encode"
ADMISSION = "admission"
ATTEMPT = "attempt"
"""The time of an attempt to ask Triton that gave no answer, until the next one."""
BATCH, TRITON = "batch", "triton"
"""The whole inference, of a call with company and of one alone."""

# OpenTelemetry's conventions for RPC: only these are the server's fault; the others are answers.
SERVER_FAULTS = frozenset(
    {
        code_pb2.UNKNOWN,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.UNIMPLEMENTED,
        code_pb2.INTERNAL,
        code_pb2.UNAVAILABLE,
        code_pb2.DATA_LOSS,
    }
)


Stage = tuple[str, int, int, str]
"""Its name, start and end in ns since 1970, and the class of what went wrong in it, or nothing."""


class CallRecord:
    """A call and its stages, as they happened. Times in ns since 1970.

    Attributes:
        method: ``package.Service/Method``.
        end_ns: 0 in a part of a stream that goes on: only its stages count.
        code: A ``google.rpc.Code``.
        line: Which release answered, with ``release`` and ``variant``; empty until one was chosen.
        stages: That are over.
        batch_calls: Calls in its inference; 0: there was none.
        batch_rows: Rows in it.
        step: Of the ensemble, where it failed.
        trace_id: 0: no trace of it is kept.
    """

    # No defaults in the class: Python reads and writes what hides one many times as slowly.
    __slots__ = (
        "batch_calls", "batch_rows", "code", "end_ns", "line", "method", "release", "stages",
        "start_ns", "step", "trace_id", "variant",
    )  # fmt: skip

    def __init__(self, method: str, start_ns: int) -> None:
        self.method = method
        self.start_ns = start_ns
        self.stages: list[Stage] = []
        self.end_ns = self.code = self.batch_calls = self.batch_rows = self.trace_id = 0
        self.line = self.release = self.variant = self.step = ""


RecordSink = Callable[[CallRecord], None]
