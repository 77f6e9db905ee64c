from __future__ import annotations

import os
from pathlib import Path

from gateway.supervising.worker_errors import A_SECOND, Bounded, WorkerErrors
from triton_models.following import FollowingProcess

OWN = b"2026-11-25 22:00:00,000 WARNING worker 0 gateway: it is full\n"
CORE = b"E1125 22:18:23.942606   26687 ssl.cc:1048] Handshake failed\n"
FATAL = b"F1125 22:18:23.942606   26687 call.cc:7] Check failed: false\n"
TLS = b"TLS with 10.0.0.1:7 failed: certificate has expired\n"


class Said:
    """What was let through, at times that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.data = b""
        self.bounded = Bounded(self._add, lambda: self.now)

    def _add(self, data: bytes) -> None:
        self.data += data

    @property
    def lines(self) -> list[bytes]:
        return self.data.splitlines(keepends=True)


def test_of_what_strangers_cause_only_some_lines_a_second_are_said() -> None:
    said = Said()
    said.bounded.take(500 * CORE + OWN + 500 * TLS + FATAL)
    assert said.lines == [CORE] * A_SECOND + [OWN, FATAL]
    said.now += 1
    said.bounded.take(TLS)
    more = b"990 more lines of failed connections and calls\n"
    assert said.lines[A_SECOND + 2 :] == [more, TLS]


def test_what_strangers_put_into_a_line_cannot_pass_for_another() -> None:
    said = Said()
    said.bounded.take(b"E1125 22:18:23.9 7 x.cc:1] Error parsing '\x1b[2J\r\xe9' metadata\n" + OWN)
    assert said.lines == [b"E1125 22:18:23.9 7 x.cc:1] Error parsing '?[2J??' metadata\n", OWN]


def test_all_that_a_worker_says_itself_is_said_in_whatever_chunks_it_comes() -> None:
    said = Said()
    for place in range(0, len(50 * OWN), 7):
        said.bounded.take((50 * OWN)[place : place + 7])
    assert said.data == 50 * OWN
    said.bounded.take(b"no end")
    assert said.data == 50 * OWN
    said.bounded.end()
    assert said.data == 50 * OWN + b"no end"


def test_what_was_not_said_is_counted_in_the_end() -> None:
    said = Said()
    said.bounded.take((A_SECOND + 3) * CORE)
    said.bounded.end()
    assert said.lines[-1] == b"3 more lines of failed connections and calls\n"


def test_the_last_words_of_a_worker_that_is_killed_are_heard(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        errors = WorkerErrors(log.fileno())
        target = errors.open()
        script = "echo to nobody; echo last words >&2; kill -9 $$"
        process = FollowingProcess(["/bin/sh", "-c", script], os.environ, errors=target)
        os.close(target)
        assert process.wait() == -9
        errors.close()
    assert (tmp_path / "log").read_bytes() == b"last words\n"
