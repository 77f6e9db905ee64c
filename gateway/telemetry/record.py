"""What is known of a call when it has ended: for spans that are built late, and for metrics."""

from __future__ import annotations

from collections.abc import Callable


class CallRecord:
    """A call and its stages, as they happened. Times in ns since 1970."""

    __slots__ = (
        "batch_calls", "batch_rows", "code", "end_ns", "line", "method", "release", "stages",
        "start_ns", "step", "trace_id", "variant",
    )  # fmt: skip

    def __init__(self, method: str, start_ns: int) -> None:
        self.method = method  # package.Service/Method
        self.start_ns = start_ns
        self.end_ns = 0
        self.code = 0  # a google.rpc.Code
        self.line = self.release = self.variant = ""  # empty until a release was chosen
        self.stages: list[tuple[str, int, int]] = []  # name, start, end
        self.batch_calls = 0  # calls in its inference; 0: there was none
        self.batch_rows = 0
        self.step = ""  # of the ensemble, where it failed
        self.trace_id = 0  # 0: no trace of it is kept


RecordSink = Callable[[CallRecord], None]
