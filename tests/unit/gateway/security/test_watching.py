from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from gateway.security.watching import Watch, Watched


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("old")
    return path


def test_what_has_not_changed_is_not_read_again(file: Path) -> None:
    read: list[str] = []
    watched = Watched("Keys", [file], lambda: read.append(file.read_text()))
    assert not watched.look()
    file.write_text("newer")
    assert watched.look()
    assert not watched.look()
    assert read == ["newer"]


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    # As Kubernetes changes a Secret that is mounted.
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
    data = tmp_path / "..data"
    data.symlink_to("one")
    (tmp_path / "key").symlink_to("..data/key")
    read: list[str] = []
    watched = Watched(
        "Keys", [tmp_path / "key"], lambda: read.append((tmp_path / "key").read_text())
    )
    (tmp_path / "..new").symlink_to("two")
    os.replace(tmp_path / "..new", data)
    assert watched.look()
    assert read == ["two"]


def test_what_cannot_be_read_is_logged_once_and_the_old_stays(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def read() -> None:
        raise ValueError("cannot be used")

    watched = Watched("Keys", [file], read)
    file.unlink()
    assert not watched.look()
    assert not watched.look()
    assert caplog.messages == ["Keys: the old stays in force: cannot be used"]


def test_what_could_not_be_read_is_read_again_until_it_can(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [OSError(24, "Too many open files")] * 2
    read: list[str] = []

    def read_file() -> None:
        if errors:
            raise errors.pop()
        read.append(file.read_text())

    watched = Watched("API keys", [file], read_file, again_s=1e-9)
    watch = Watch([watched])
    file.write_text("without the key that was stolen")
    assert [watched.look(), watched.look()] == [False, False]
    assert watch.stale == 1
    assert watched.look()
    assert read == ["without the key that was stolen"]
    assert watch.stale == 0
    assert not watched.look()
    assert len(caplog.messages) == 1  # the same is said once


def test_the_pause_before_reading_again_grows_and_ends_with_a_change(file: Path) -> None:
    tried: list[str] = []

    def read() -> None:
        tried.append(file.read_text())
        raise ValueError("cannot be used")

    watched = Watched("Keys", [file], read, again_s=3600)
    file.write_text("wrong")
    watched.look()
    watched.look()
    assert tried == ["wrong"]
    file.write_text("as wrong")
    watched.look()
    assert tried == ["wrong", "as wrong"]


def test_what_is_due_is_read_without_a_change() -> None:
    read: list[int] = []
    watched = Watched("Keys", [], lambda: read.append(1), every_s=0)
    assert watched.look()
    assert watched.look()
    assert read == [1, 1]


def test_a_thread_looks_until_it_is_told_not_to(file: Path) -> None:
    seen = threading.Event()
    watch = Watch([Watched("Keys", [file], seen.set)], look_s=0.001)
    watch.start()
    file.write_text("newer")
    assert seen.wait(10)
    watch.stop()
    assert "file-watch" not in {thread.name for thread in threading.enumerate()}


def test_with_nothing_to_look_at_there_is_no_thread() -> None:
    watch = Watch(())
    watch.start()
    assert "file-watch" not in {thread.name for thread in threading.enumerate()}
    watch.stop()
