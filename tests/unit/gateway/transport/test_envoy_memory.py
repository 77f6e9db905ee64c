from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

from gateway.transport.envoy_memory import drop_unneeded_pages, mappings

SMAPS = """\
7f00-7f10 r-xp 00000000 08:01 42 /usr/lib/a.so
Size:                 64 kB
Rss:                  48 kB
Anonymous:             0 kB
VmFlags: rd ex
7f10-7f20 r--p 00000000 08:01 42 /usr/lib/a.so
Rss:                   8 kB
Anonymous:             4 kB
7f20-7f30 rw-p 00000000 08:01 42 /usr/lib/a.so
Rss:                   8 kB
Anonymous:             0 kB
7f30-7f40 r--p 00000000 00:00 0
Rss:                   8 kB
Anonymous:             0 kB
"""


def test_only_what_is_as_in_its_file_can_be_dropped() -> None:
    code, relocated, writable, anonymous = mappings(SMAPS)
    assert (code.start, code.end, code.resident_kb) == (0x7F00, 0x7F10, 48)
    assert code.is_file_unchanged
    assert not relocated.is_file_unchanged
    assert not writable.is_file_unchanged
    assert not anonymous.is_file_unchanged


def test_what_is_dropped_comes_back_as_it_was(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    path = tmp_path / "file"
    path.write_bytes(data)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as m,
    ):
        assert bytes(m) == data  # all of it is resident now
        before = _resident_kb(path)
        assert before >= 1024
        assert drop_unneeded_pages() >= before
        assert _resident_kb(path) == 0
        assert bytes(m) == data


def _resident_kb(path: Path) -> int:
    text = Path("/proc/self/smaps").read_text()
    block = text[text.index(str(path)) :]
    return next(mappings("0-1 r--p 0 0:0 1\n" + block.split("\n", 1)[1])).resident_kb


def test_the_program_runs_on() -> None:
    drop_unneeded_pages()
    assert ctypes.CDLL(None).getpid() > 0
