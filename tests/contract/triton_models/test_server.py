from __future__ import annotations

import http.server
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException
from waiting import wait_for

from triton_models.embedded.process import SHARED_MEMORY
from triton_models.server import EmbeddedTriton

pytestmark = pytest.mark.contract


@pytest.fixture
def client(triton: EmbeddedTriton) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(triton.target) as client:
        yield client


@pytest.fixture
def own_triton(letters_models: Path) -> Iterator[EmbeddedTriton]:
    """A Triton that the test may kill."""
    with EmbeddedTriton(letters_models) as server:
        server.wait_ready()
        yield server


def ask(
    client: InferenceServerClient,
    rows: Sequence[Sequence[bytes]],
    outputs: Sequence[str] | None = None,
    **options: object,
) -> InferResult:
    letters = np.array(rows, dtype=np.object_).reshape(len(rows), -1)
    tensor = InferInput("letters", list(letters.shape), "BYTES")
    tensor.set_data_from_numpy(letters)
    requested = None if outputs is None else [InferRequestedOutput(name) for name in outputs]
    return client.infer("letters", [tensor], outputs=requested, **options)


def load_letters(client: InferenceServerClient) -> None:
    for name in ("letters__encode", "letters__decode", "letters"):
        client.load_model(name)


def shared_memory() -> set[str]:
    return {path.name for path in SHARED_MEMORY.glob(f"trident_{os.getpid()}_*")}


@pytest.mark.parametrize("row_count", [1, 3, 1000])
def test_strings_pass_through_an_ensemble(client: InferenceServerClient, row_count: int) -> None:
    result = ask(client, [[b"a", "ü".encode(), b"?"]] * row_count)

    assert result.as_numpy("capitals").tolist() == [[b"A", "Ü".encode(), b""]] * row_count
    assert result.as_numpy("known").dtype == np.bool_
    assert result.as_numpy("known").tolist() == [[True, True, False]] * row_count
    assert result.as_numpy("total").dtype == np.float32
    assert result.as_numpy("total").tolist() == [[4.0]] * row_count


def test_rows_keep_their_order(client: InferenceServerClient) -> None:
    letters = [[b"a"], [b"b"], ["ü".encode()], [b""]] * 50

    result = ask(client, letters)

    assert result.as_numpy("total").ravel().tolist() == [1.0, 2.0, 3.0, 0.0] * 50


def test_an_axis_of_length_zero_keeps_its_shape(client: InferenceServerClient) -> None:
    result = ask(client, [[], []])

    assert result.as_numpy("capitals").shape == (2, 0)
    assert result.as_numpy("total").tolist() == [[0.0], [0.0]]


def test_only_requested_outputs_are_returned(client: InferenceServerClient) -> None:
    result = ask(client, [[b"a"]], outputs=["total"])

    assert [output.name for output in result.get_response().outputs] == ["total"]


def test_an_error_in_one_request_does_not_harm_the_next(client: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="input letters: holds bytes that are not"):
        ask(client, [[b"\xff"]])

    assert ask(client, [[b"a"]]).as_numpy("capitals").tolist() == [[b"A"]]


@pytest.mark.parametrize(
    ("model", "reason"),
    [("torn", r"model\.onnx: .*Protobuf parsing failed"), ("misnamed", "has no output sum, only")],
)
def test_a_model_that_cannot_run_says_why(
    client: InferenceServerClient, model: str, reason: str
) -> None:
    with pytest.raises(InferenceServerException, match=reason):
        client.load_model(model)

    assert ask(client, [[b"b"]]).as_numpy("capitals").tolist() == [[b"B"]]


def test_stop_leaves_no_process_and_no_shared_memory(letters_models: Path) -> None:
    before = shared_memory()
    server = EmbeddedTriton(letters_models)
    server.start()
    server.wait_ready()
    with InferenceServerClient(server.target) as client:
        load_letters(client)
    processes = _family(server)
    assert len(processes) == 3  # the server and a stub for each step
    assert shared_memory() > before

    server.stop()
    server.stop()

    wait_for(lambda: not any(map(_runs, processes)))
    assert shared_memory() == before
    assert server.pid is None


def test_a_killed_server_returns_on_the_same_port_without_its_old_stubs(
    own_triton: EmbeddedTriton,
) -> None:
    with InferenceServerClient(own_triton.target) as client:
        load_letters(client)
        old = _family(own_triton)
        leaked = shared_memory()

        os.kill(old[0].pid, signal.SIGKILL)
        wait_for(lambda: not any(map(_runs, old)))
        own_triton.wait_ready()

        assert own_triton.pid != old[0].pid
        load_letters(client)
        assert ask(client, [[b"a"]]).as_numpy("capitals").tolist() == [[b"A"]]
        assert len(_family(own_triton)) == 3
        assert len(shared_memory()) == len(leaked)


def test_triton_does_not_outlive_a_killed_parent(letters_models: Path) -> None:
    script = (
        "import sys, threading; from pathlib import Path;"
        " from triton_models.server import EmbeddedTriton;"
        " server = EmbeddedTriton(Path(sys.argv[1])); server.start(); server.wait_ready();"
        " print(server.pid, flush=True); threading.Event().wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(letters_models)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))

        parent.kill()

    assert psutil.wait_procs([server], timeout=20)[1] == []


@pytest.fixture
def span_receiver() -> Iterator[tuple[str, Callable[[], dict[str, object]]]]:
    """The address of an OTLP receiver, and a function that gives its next span."""
    spans: queue.Queue[dict[str, object]] = queue.Queue()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for resource in body["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        spans.put(span)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", lambda: spans.get(timeout=20)
        server.shutdown()
        thread.join()


def test_spans_of_every_step_arrive_and_carry_the_request_id(
    letters_models: Path, span_receiver: tuple[str, Callable[[], dict[str, object]]]
) -> None:
    url, next_span = span_receiver
    with EmbeddedTriton(letters_models, otlp_traces_url=url) as server:
        server.wait_ready()
        with InferenceServerClient(server.target) as client:
            load_letters(client)
            ask(client, [[b"a"]], request_id="r-1")
        spans = [next_span() for _ in range(6)]

    names = sorted(str(span["name"]) for span in spans)
    assert names == [
        "InferRequest",
        "compute",
        "compute",
        "letters",
        "letters__decode",
        "letters__encode",
    ]
    assert len({span["traceId"] for span in spans}) == 1
    assert sum("r-1" in json.dumps(span) for span in spans) == 3


def _runs(process: psutil.Process) -> bool:
    # Not by psutil's own waiting, which would take the child's end away from who started it.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _family(server: EmbeddedTriton) -> list[psutil.Process]:
    assert server.pid is not None
    process = psutil.Process(server.pid)
    return [process, *process.children(recursive=True)]
