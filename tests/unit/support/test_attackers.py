"""What an attacker says it has sent, it has."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest
from attackers import Attacker

FRAMES = 600


def attacked(way: Callable[[Attacker], None]) -> int:
    """How many frames an attacker says it has sent to a server that only reads."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with listening.accept()[0] as connection:
                while connection.recv(1 << 16):
                    pass

        server = threading.Thread(target=serve)
        server.start()
        attacker = Attacker(f"127.0.0.1:{listening.getsockname()[1]}")
        way(attacker)
        server.join(20)
    return attacker.frames


@pytest.mark.parametrize(
    ("way", "frames"),
    [
        (lambda one: one.garbage(FRAMES), FRAMES),
        (lambda one: one.messages(FRAMES), 2 * FRAMES),
        (lambda one: one.rapid_reset(FRAMES), 2 * FRAMES),
        (lambda one: one.header_bomb(FRAMES - 1), FRAMES),
        (lambda one: one.no_text(FRAMES), 2 * FRAMES),
    ],
    ids=["garbage", "messages", "rapid reset", "header bomb", "no text"],
)
def test_all_that_is_sent_is_counted_once(way: Callable[[Attacker], None], frames: int) -> None:
    assert attacked(way) == frames


def test_what_was_never_sent_is_not_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        target = f"127.0.0.1:{closed.getsockname()[1]}"
    attacker = Attacker(target)
    attacker.messages(FRAMES)
    attacker.rapid_reset(FRAMES)
    assert attacker.frames == 0
