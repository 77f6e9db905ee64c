"""Samples are counted for the part that the innermost telling frame belongs to."""

from __future__ import annotations

import pytest

from benchmarks.serving.profiling import counts, part_of

SERVER = ["<module> (/v/bin/gateway:8)", "run (/src/gateway/serving.py:62)",
          "Handle._run (/py/asyncio/events.py:80)"]  # fmt: skip
ANSWER = [*SERVER, "answer (/src/gateway/transport/grpc_aio_rpc.py:94)",
          "Answering.one (/src/gateway/transport/answering.py:40)"]  # fmt: skip


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        (ANSWER, "transport: call, errors, serialise"),
        ([*ANSWER, "check_values (/src/gateway/domains/features.py:78)"], "check"),
        ([*ANSWER, "tensors_to_responses (/src/gateway/domains/diagnose.py:98)",
          "_all (/v/numpy/core/_methods.py:64)"], "tensors to response"),
        ([*ANSWER, "TritonClient.infer (/src/gateway/triton/client.py:88)",
          "UnaryUnaryCall.__init__ (/v/grpc/aio/_call.py:569)"], "client of Triton"),
        ([*ANSWER, "Span.end (/v/opentelemetry/sdk/trace/__init__.py:9)"], "tracing"),
    ],
    ids=["ours", "a domain's check", "a library below ours", "the client", "tracing"],
)  # fmt: skip
def test_the_innermost_frame_that_is_known_tells_the_part(stack: list[str], part: str) -> None:
    assert part_of(stack) == part


def test_the_client_of_triton_may_be_our_own() -> None:
    stack = [*ANSWER, "Channel.unary (/src/gateway/triton/http2/channel.py:8)"]
    assert part_of(stack) == "client of Triton"


def test_samples_that_no_frame_tells_anything_of_are_not_counted() -> None:
    folded = [
        ";".join(ANSWER) + " 30",
        ";".join([*ANSWER, "Span.end (/v/opentelemetry/sdk/trace.py:9)"]) + " 10",
        "Thread._bootstrap (/py/threading.py:1002);_worker (/py/thread.py:81) 500",
        "_take (/src/gateway/transport/envoy_app.py:157);sigwait (/py/signal.py:82) 300",
        "run (/py/runners.py:118);EpollSelector.select (/py/selectors.py:468) 400",
    ]
    assert counts(folded) == {"transport: call, errors, serialise": 30, "tracing": 10}
