"""gRPC over HTTP/2 as bytes: messages in frames, what headers and trailers say.

As in https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import asyncio
import binascii
import gzip
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote_from_bytes

from google.rpc import code_pb2, status_pb2

from gateway.transport.call import Pair
from gateway.transport.rpc import RpcFailed

Headers = list[tuple[bytes, bytes]]

CONTENT_TYPES = frozenset({b"application/grpc", b"application/grpc+proto"})
ENCODINGS = b"identity,deflate,gzip"
"""What we can decompress; zlib tells deflate and gzip apart by itself."""

HEADER_BYTES = 5
"""Before each message: whether it is compressed (1), and its length (4)."""

_COMPRESSED = frozenset({b"gzip", b"deflate"})
_ANY_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS
_QUICK_BYTES = 256 * 1024
"""What is larger, before or after, takes the event loop more than a millisecond to inflate."""
_LEVEL = 1
"""Of gzip. More costs more time than the bytes it saves are worth."""

_TIMEOUT_UNITS: Mapping[int, float] = {
    ord("H"): 3600.0,
    ord("M"): 60.0,
    ord("S"): 1.0,
    ord("m"): 1e-3,
    ord("u"): 1e-6,
    ord("n"): 1e-9,
}
_MAX_TIMEOUT_DIGITS = 8

CERTIFICATE_HEADER = b"x-forwarded-client-cert"
"""In which Envoy tells of the client's certificate."""

# What belongs to the transport and is no metadata; gRPC shows the user agent all the same.
_NOT_METADATA = frozenset(
    {b"host", b"content-type", b"content-length", b"te", b"grpc-timeout", b"grpc-encoding",
     b"grpc-accept-encoding", b"grpc-message-type", b"x-forwarded-proto", CERTIFICATE_HEADER}
)  # fmt: skip

# All printable ASCII but the percent sign travels as it is.
_SAFE_IN_MESSAGE = bytes(set(range(0x20, 0x7F)) - {ord("%")})


def failure(code: int, message: str) -> RpcFailed:
    """Return a failure of the transport's own, without details."""
    return RpcFailed(status_pb2.Status(code=code, message=message))


def too_large(size: int, limit: int) -> RpcFailed:
    """Return the failure of a message over the limit."""
    text = f"A message of {size} bytes is over the limit of {limit}."
    return failure(code_pb2.RESOURCE_EXHAUSTED, text)


def frame(message: bytes, compress: bool = False) -> bytes:
    """Return a message as it travels."""
    if compress:
        message = gzip.compress(message, _LEVEL, mtime=0)
    return compress.to_bytes(1, "big") + len(message).to_bytes(4, "big") + message


class Deframer:
    """Takes a body apart into messages, in whatever chunks it comes.

    Args:
        encoding: What the client's ``grpc-encoding`` says.
        max_bytes: Of a message, compressed or not.
    """

    __slots__ = ("_buffer", "_encoding", "_max_bytes")

    def __init__(self, encoding: bytes, max_bytes: int) -> None:
        self._buffer = bytearray()
        self._encoding = encoding
        self._max_bytes = max_bytes

    @property
    def is_empty(self) -> bool:
        """Whether no part of a message waits for its rest."""
        return not self._buffer

    def feed(self, chunk: bytes) -> list[bytes | Packed]:
        """Return the messages that a chunk completes, those that are compressed as they came.

        Raises:
            RpcFailed: If a message is too large, or compressed in a way that is not known.
        """
        self._buffer += chunk
        messages: list[bytes | Packed] = []
        start = 0
        while len(self._buffer) - start >= HEADER_BYTES:
            size = int.from_bytes(self._buffer[start + 1 : start + HEADER_BYTES], "big")
            if size > self._max_bytes:
                raise too_large(size, self._max_bytes)
            end = start + HEADER_BYTES + size
            if len(self._buffer) < end:
                break
            message = bytes(self._buffer[start + HEADER_BYTES : end])
            messages.append(self._packed(message) if self._buffer[start] else message)
            start = end
        del self._buffer[:start]
        return messages

    def _packed(self, message: bytes) -> Packed:
        if self._encoding in (b"", b"identity"):
            text = "A message is marked as compressed, and grpc-encoding does not say how."
            raise failure(code_pb2.INTERNAL, text)
        if self._encoding not in _COMPRESSED:
            text = f"Compression '{self._encoding.decode('latin-1')}' is not supported."
            raise failure(code_pb2.UNIMPLEMENTED, text)
        return Packed(message, self._max_bytes)


class Packed:
    """A message that is compressed; :func:`unpacked` inflates it.

    Args:
        data: As it came.
        max_bytes: Of what it may become.
    """

    __slots__ = ("_data", "_max_bytes")

    def __init__(self, data: bytes, max_bytes: int) -> None:
        self._data = data
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._data)

    def inflate(self, at_most: int | None = None) -> bytes | None:
        """Return the message; ``None`` if it is larger than ``at_most`` bytes.

        Raises:
            RpcFailed: If it is too large, or not whole.
        """
        limit = self._max_bytes if at_most is None else min(at_most, self._max_bytes)
        inflater = zlib.decompressobj(_ANY_ZLIB_OR_GZIP)
        try:
            plain = inflater.decompress(self._data, limit + 1)
        except zlib.error as error:
            raise failure(code_pb2.INTERNAL, "A message cannot be decompressed.") from error
        if len(plain) > limit:
            if limit < self._max_bytes:
                return None
            raise too_large(len(plain), self._max_bytes)
        if not inflater.eof:
            raise failure(code_pb2.INTERNAL, "A compressed message is cut off.")
        return plain


async def unpacked(message: bytes | Packed) -> bytes:
    """Return a message as it was before it was compressed: a large one is inflated on a thread.

    Raises:
        RpcFailed: If it is too large, or not whole.
    """
    if isinstance(message, bytes):
        return message
    # Of what was compressed well, a few bytes can stand for as much as a message may have.
    plain = message.inflate(_QUICK_BYTES) if len(message) <= _QUICK_BYTES else None
    if plain is None:
        plain = await asyncio.to_thread(message.inflate)
        assert plain is not None
    return plain


def parse_timeout(value: bytes) -> float:
    """Return what ``grpc-timeout`` says, in seconds.

    Raises:
        RpcFailed: If it says nothing that can be understood.
    """
    digits, unit = value[:-1], _TIMEOUT_UNITS.get(value[-1] if value else 0)
    if unit is None or not digits.isdigit() or len(digits) > _MAX_TIMEOUT_DIGITS:
        text = f"grpc-timeout '{value.decode('latin-1')}' cannot be understood."
        raise failure(code_pb2.INTERNAL, text)
    return int(digits) * unit


def decode_metadata(headers: Iterable[tuple[bytes, bytes]]) -> list[Pair]:
    """Return the metadata in the headers of a request, in its order."""
    pairs: list[Pair] = []
    for key, value in headers:
        if key in _NOT_METADATA:
            continue
        if key.endswith(b"-bin"):
            pairs += [(key.decode(), one) for one in map(_decode_binary, value.split(b","))]
        else:
            pairs.append((key.decode(), value.decode("latin-1")))
    return pairs


def encode_metadata(pairs: Sequence[Pair]) -> Headers:
    """Return metadata as headers or trailers."""
    return [
        (
            key.encode(),
            b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1"),
        )
        for key, value in pairs
    ]


def encode_status(status: status_pb2.Status) -> Headers:
    """Return a status as the trailers that end a call."""
    trailers = [(b"grpc-status", b"%d" % status.code)]
    if status.message:
        trailers.append((b"grpc-message", encode_message(status.message)))
    if status.details:
        details = b64encode(status.SerializeToString()).rstrip(b"=")
        trailers.append((b"grpc-status-details-bin", details))
    return trailers


def encode_message(message: str) -> bytes:
    """Return a message percent-encoded."""
    return quote_from_bytes(message.encode(), _SAFE_IN_MESSAGE).encode()


def _decode_binary(value: bytes) -> bytes:
    """Return the bytes of a ``-bin`` header; nothing if it is no base64."""
    try:
        return b64decode(value.strip() + b"=" * (-len(value.strip()) % 4))
    except binascii.Error:
        return b""
