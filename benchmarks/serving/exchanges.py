"""The ways to ask for one and the same inference, and how an answer is told from a wrong one."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tritonclient.grpc import service_pb2

from benchmarks.serving.workloads import Arrays, Row, Workload
from gateway.triton.tensors import arrays_to_request, response_to_arrays
from trident.common.v1.served_by_pb2 import ServedBy

BATCH_ROWS = 256
STREAM_ELEMENTS = 1000

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""How far a number may be from ONNX Runtime's: a batch is summed in another order than a row."""

_FRAME = struct.Struct(">BI")
OIP_METHOD = "/inference.GRPCInferenceService/ModelInfer"


class WrongAnswer(Exception):
    """An answer that is not what ONNX Runtime gives."""


@dataclass(frozen=True)
class Exchange:
    """One way to ask: where, with what, and what must come back."""

    wire: Literal["unary", "stream", "http"]
    path: str
    bodies: Sequence[bytes]
    """What is posted, by turn; gRPC messages with their frames."""
    rows: int
    """Inferences in one request."""
    check: Callable[[int, Sequence[bytes]], None]
    """Given the turn and the messages that came back, raises :class:`WrongAnswer`."""
    size_varies: bool = False
    """Whether answers to one request may differ in length (numbers as text)."""

    def messages(self, turn: int) -> list[bytes]:
        """Return what is sent in a turn, without frames."""
        if self.wire == "http":
            return [self.bodies[turn]]
        return list(unframed(self.bodies[turn]))


def framed(messages: Sequence[bytes]) -> bytes:
    """Return messages as the body of a gRPC call, not compressed."""
    return b"".join(_FRAME.pack(0, len(message)) + message for message in messages)


def unframed(body: bytes) -> Iterator[bytes]:
    """Return the messages of a body."""
    place = 0
    while place < len(body):
        _, length = _FRAME.unpack_from(body, place)
        place += _FRAME.size
        yield body[place : place + length]
        place += length


def trident_unary(workload: Workload, variant: str) -> Exchange:
    """Ask a gateway, one request a call."""
    expected = expected_responses(workload, variant)
    response_type = getattr(workload.task.messages, f"{workload.task.rpc}Response")

    def check(turn: int, replies: Sequence[bytes]) -> None:
        (reply,) = replies
        compare_messages(response_type.FromString(reply), expected[turn])

    bodies = [framed([row.request.SerializeToString()]) for row in workload.rows]
    return Exchange("unary", _path(workload, ""), bodies, 1, check)


def trident_batch(workload: Workload, variant: str, rows: int = BATCH_ROWS) -> Exchange:
    """Ask a gateway for many rows in one call."""
    expected = expected_responses(workload, variant)
    messages = workload.task.messages
    request_type = getattr(messages, f"Batch{workload.task.rpc}Request")
    response_type = getattr(messages, f"Batch{workload.task.rpc}Response")

    def check(turn: int, replies: Sequence[bytes]) -> None:
        (reply,) = replies
        responses = response_type.FromString(reply).responses
        _same_count(len(responses), rows)
        for number, response in enumerate(responses):
            compare_messages(response, expected[(turn + number) % len(expected)])

    bodies = [
        framed([
            request_type(requests=[row.request for row in _turned(workload, turn, rows)])
            .SerializeToString()
        ])
        for turn in range(len(workload.rows))
    ]  # fmt: skip
    return Exchange("unary", _path(workload, "Batch"), bodies, rows, check)


def trident_stream(workload: Workload, variant: str, elements: int = STREAM_ELEMENTS) -> Exchange:
    """Send a gateway many requests in one stream, as fast as it reads them."""
    expected = expected_responses(workload, variant)
    messages = workload.task.messages
    request_type = getattr(messages, f"Stream{workload.task.rpc}Request")
    response_type = getattr(messages, f"Stream{workload.task.rpc}Response")

    def check(turn: int, replies: Sequence[bytes]) -> None:
        _same_count(len(replies), elements)
        seen = set()
        for reply in replies:
            answer = response_type.FromString(reply)
            if not answer.HasField("response"):
                raise WrongAnswer(f"element {answer.request_id}: {answer.error.message}")
            seen.add(answer.request_id)
            place = (turn + int(answer.request_id)) % len(expected)
            compare_messages(answer.response, expected[place])
        _same_count(len(seen), elements)

    def body(turn: int) -> bytes:
        made = []
        for number, row in enumerate(_turned(workload, turn, elements)):
            element = request_type(request=row.request)
            element.request.request_id = f"{number:06d}"
            made.append(element.SerializeToString())
        return framed(made)

    bodies = [body(turn) for turn in range(len(workload.rows))]
    return Exchange("stream", _path(workload, "Stream"), bodies, elements, check)


def echo(workload: Workload, variant: str) -> Exchange:
    """Ask for a fixed answer: the one to the first row."""
    fixed = expected_responses(workload, variant)[0]

    def check(_turn: int, replies: Sequence[bytes]) -> None:
        (reply,) = replies
        compare_messages(type(fixed).FromString(reply), fixed)

    bodies = [framed([row.request.SerializeToString()]) for row in workload.rows]
    return Exchange("unary", _path(workload, ""), bodies, 1, check)


def oip(workload: Workload, model_name: str, rows: int = 1) -> Exchange:
    """Ask a server of the Open Inference Protocol, with ready tensors."""

    def check(turn: int, replies: Sequence[bytes]) -> None:
        (reply,) = replies
        response = service_pb2.ModelInferResponse.FromString(reply)
        answer = response_to_arrays(response, rows)
        for number, row in enumerate(_turned(workload, turn, rows)):
            compare_arrays(
                {name: array[number : number + 1] for name, array in answer.items()}, row.answer
            )

    bodies = []
    for turn in range(len(workload.rows)):
        tensors = _stacked([row.tensors for row in _turned(workload, turn, rows)])
        request = arrays_to_request(model_name, tensors, workload.outputs)
        bodies.append(framed([request.SerializeToString()]))
    return Exchange("unary", OIP_METHOD, bodies, rows, check)


def http_json(workload: Workload, path: str, *, listed: bool = False) -> Exchange:
    """Ask over HTTP/1.1 with JSON: ``{input: [[…]]}``, answered with ``{output: [[…]]}``.

    Args:
        workload: What is asked.
        path: Where.
        listed: Whether the server takes ``{"rows": [request]}`` and answers with a list.
    """

    def check(turn: int, replies: Sequence[bytes]) -> None:
        (reply,) = replies
        expected = workload.rows[turn].answer
        answer = json.loads(reply)[0] if listed else json.loads(reply)
        compare_arrays({name: _parsed(answer[name], expected[name]) for name in answer}, expected)

    bodies = []
    for row in workload.rows:
        request = {name: _plain(array) for name, array in row.tensors.items()}
        bodies.append(json.dumps({"rows": [request]} if listed else request).encode())
    return Exchange("http", path, bodies, 1, check, size_varies=True)


def compare_arrays(answer: Arrays, expected: Arrays) -> None:
    """Raise :class:`WrongAnswer` if an expected output is missing or differs."""
    for name, wanted in expected.items():
        given = answer.get(name)
        if given is None or given.shape != wanted.shape:
            raise WrongAnswer(f"{name}: {None if given is None else given.shape}")
        if wanted.dtype.kind == "f":
            same = np.allclose(given, wanted, RELATIVE, ABSOLUTE)
        else:
            same = np.array_equal(given, wanted)
        if not same:
            raise WrongAnswer(f"{name}: {given.tolist()} instead of {wanted.tolist()}")


def compare_messages(answer: Message, expected: Message) -> None:
    """Raise :class:`WrongAnswer` if a field differs; numbers may by the tolerance."""
    _compare("", _plain_message(answer), _plain_message(expected))


def _plain_message(message: Message) -> Any:
    # With the fields that are zero: one that is nearly zero may stand on the other side.
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def _compare(path: str, given: Any, wanted: Any) -> None:
    if isinstance(wanted, float) and isinstance(given, float | int):
        if not math.isclose(given, wanted, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            raise WrongAnswer(f"{path}: {given} instead of {wanted}")
    elif isinstance(wanted, Mapping) and isinstance(given, Mapping):
        for name in wanted.keys() | given.keys():
            _compare(f"{path}.{name}", given.get(name), wanted.get(name))
    elif isinstance(wanted, list) and isinstance(given, list) and len(wanted) == len(given):
        for place, (one, other) in enumerate(zip(given, wanted, strict=True)):
            _compare(f"{path}[{place}]", one, other)
    elif given != wanted:
        raise WrongAnswer(f"{path}: {given!r} instead of {wanted!r}")


def expected_responses(workload: Workload, variant: str) -> list[Any]:
    """Return what a gateway must answer to each row."""
    manifest, domain = workload.manifest, workload.task.domain
    served_by = ServedBy(line=manifest.line, release=manifest.release, variant=variant)
    return [
        domain.tensors_to_responses(row.answer, [row.request], manifest, served_by)[0]
        for row in workload.rows
    ]


def _path(workload: Workload, form: str) -> str:
    return f"/{workload.task.service}/{form}{workload.task.rpc}"


def _turned(workload: Workload, turn: int, count: int) -> list[Row]:
    return [workload.rows[(turn + n) % len(workload.rows)] for n in range(count)]


def _stacked(rows: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _same_count(given: int, wanted: int) -> None:
    if given != wanted:
        raise WrongAnswer(f"{given} answers instead of {wanted}")


def _plain(array: Any) -> Any:
    if array.dtype == np.object_:
        return [[item.decode() for item in row] for row in array]
    return array.tolist()


def _parsed(value: Any, like: Any) -> Any:
    if like.dtype != np.object_:
        return np.array(value, like.dtype)
    return np.array([[item.encode() for item in row] for row in value], np.object_)
