"""Header blocks (HPACK, RFC 7541) that mean the same whatever came before them.

We use no dynamic table, and allow the server none (``SETTINGS_HEADER_TABLE_SIZE`` 0, which it has
taken note of before it reads a request). So each block is decoded by a decoder of its own that
has no table either: nothing is carried from one block to the next, a block that refers to a table
is an error, and equal blocks mean equal headers, on every connection. That is why they are
remembered.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from hpack import Decoder, HPACKError, OversizedHeaderListError

from gateway.triton.http2 import frames
from gateway.triton.http2.errors import BrokenProtocol

MOST_BYTES = 2**16
"""Of the headers of one block, as RFC 9113 §6.5.2 counts them; the server is told."""

NO_TABLE = b"\x20"
"""Begins the first block: our encoder gives its table up (RFC 7541 §6.3)."""

LONGEST_TIMEOUT_S = 99_999_999
"""``grpc-timeout`` has eight digits."""

_REMEMBERED_BYTES = 512
_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")


class ResponseHead(NamedTuple):
    """What a call needs of the headers or of the trailers of its response."""

    http_status: str | None
    """``None`` in trailers."""
    grpc_status: str | None
    grpc_message: str
    fault: str
    """Why this is neither; else empty."""


class TooManyHeaders(Exception):
    """One response has more headers than are taken; the others are not concerned."""


def request_head(scheme: str, authority: str, path: str) -> bytes:
    """Return the part of a header block that is the same for each call of a method."""
    # POST and http(s) have places in HPACK's static table, as have the names of the other two.
    pseudo = b"\x83" + (b"\x87" if scheme == "https" else b"\x86")
    pseudo += b"\x01" + _text(authority) + b"\x04" + _text(path)
    return pseudo + _literals(
        {
            "te": "trailers",
            "content-type": "application/grpc",
            "user-agent": "trident-gateway",
        }
    )


def timeout_field(timeout_s: float) -> bytes:
    """Return the field that tells the server how much time a call has.

    It is rounded up: the server must not give up before we do.
    """
    if timeout_s < 99:
        amount = f"{math.ceil(timeout_s * 1_000_000)}u"
    elif timeout_s < 99_999:
        amount = f"{math.ceil(timeout_s * 1000)}m"
    else:
        amount = f"{math.ceil(timeout_s)}S"
    return b"\0\x0cgrpc-timeout" + _text(amount)


def metadata_fields(metadata: Mapping[str, str]) -> bytes:
    """Return the fields of a call's own metadata.

    Raises:
        ValueError: If a name or a value is not what gRPC allows in text.
    """
    faults = [
        f"{name!r}: {value!r}"
        for name, value in metadata.items()
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)) or name.startswith("grpc-")
    ]
    if faults:
        raise ValueError(f"metadata that gRPC does not allow: {', '.join(faults)}")
    return _literals(metadata)


def response_head(block: bytes) -> ResponseHead:
    """Return what a header block of a response says.

    Raises:
        BrokenProtocol: If it is no header block.
        TooManyHeaders: If it says more than is taken.
    """
    return _remembered(block) if len(block) <= _REMEMBERED_BYTES else _decoded(block)


def _decoded(block: bytes) -> ResponseHead:
    decoder = Decoder(MOST_BYTES)
    decoder.header_table_size = decoder.max_allowed_table_size = 0
    try:
        fields = decoder.decode(block, raw=True)
    except OversizedHeaderListError as error:
        raise TooManyHeaders(str(error)) from None
    except HPACKError as error:
        raise BrokenProtocol(frames.COMPRESSION_ERROR, f"broken headers: {error}") from error
    values: dict[bytes, bytes] = {}
    fault = ""
    pseudo_is_over = False
    for name, value in fields:
        if not name.startswith(b":"):
            pseudo_is_over = True
            if name != name.lower():
                fault = f"a header with the name {name!r}"
        elif name != b":status" or pseudo_is_over or name in values:
            fault = f"the pseudo-header {name!r} where it must not be"
        values[name] = value
    http, grpc = (values.get(name) for name in (b":status", b"grpc-status"))
    return ResponseHead(
        http_status=None if http is None else http.decode("latin-1"),
        grpc_status=None if grpc is None else grpc.decode("latin-1"),
        grpc_message=unquote(values.get(b"grpc-message", b"").decode(errors="replace")),
        fault=fault,
    )


_remembered = lru_cache(maxsize=256)(_decoded)


def _literals(headers: Mapping[str, str]) -> bytes:
    """Return headers as plain literals that no table remembers (RFC 7541 §6.2.2)."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())


def _text(text: str) -> bytes:
    encoded = text.encode("ascii")
    size = len(encoded)
    if size < 0x7F:
        return bytes((size,)) + encoded
    size -= 0x7F
    prefix = bytearray(b"\x7f")
    while size >= 0x80:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + encoded
