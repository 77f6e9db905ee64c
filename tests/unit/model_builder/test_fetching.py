from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_builder import fetching
from model_builder.errors import DataSetUnavailable
from model_builder.public_data import DataFile, PublicData, TextFormat

TABLE = b"X1,X2\n1,2.5\n3,?\n"


def archive(table: bytes = TABLE) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as writer:
        writer.writestr("inner/table.csv", table)
    return content.getvalue()


class Publisher(ThreadingHTTPServer):
    """Serves what it is told to, and fails the first ``failures`` times."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = archive()
        self.failures = 0
        self.failure_code = 503
        self.asked = 0
        self.missing_bytes = 0
        """How much of an announced answer does not come."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/table.zip"


class Answer(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.server.asked <= self.server.failures:
            self.send_error(self.server.failure_code)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(
            self.server.content[: len(self.server.content) - self.server.missing_bytes]
        )

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def known(publisher: Publisher, tmp_path: Path) -> PublicData:
    copy = tmp_path / "copy.csv"
    copy.write_bytes(TABLE)
    sha256 = fetching.canonical_sha256(copy, TextFormat())
    return PublicData(
        name="table",
        summary="",
        licence="",
        citation="",
        url=publisher.url,
        files=(DataFile("table.csv", sha256, member="inner/table.csv"),),
    )


def test_fetches_checks_and_shows_progress(known, publisher, tmp_path, progress) -> None:
    fetching.fetch(known, tmp_path / "cache" / "table", progress)
    assert (tmp_path / "cache" / "table" / "table.csv").read_bytes() == TABLE
    size = len(publisher.content)
    assert progress.stages == {"fetch table": [size, size]}


def test_tries_again_when_the_publisher_stumbles(known, publisher, tmp_path, progress) -> None:
    publisher.failures = 1
    fetching.fetch(known, tmp_path / "table", progress, retry_wait_s=0)
    assert publisher.asked == 2


def test_does_not_ask_again_for_what_does_not_exist(known, publisher, tmp_path, progress) -> None:
    publisher.failures, publisher.failure_code = 9, 404
    with pytest.raises(DataSetUnavailable, match="404"):
        fetching.fetch(known, tmp_path / "table", progress, retry_wait_s=0)
    assert publisher.asked == 1


def test_an_answer_that_ends_early_is_no_answer(known, publisher, tmp_path, progress) -> None:
    publisher.missing_bytes = 10
    with pytest.raises(DataSetUnavailable, match="bytes came"):
        fetching.fetch(known, tmp_path / "table", progress, retry_wait_s=0)
    assert publisher.asked == 3


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (archive(TABLE.replace(b"2.5", b"2.6")), "has sha256"),
        (archive().replace(b"2.5", b"2.6"), "Bad CRC-32"),
        (b"<html>moved</html>", "not a zip file"),
    ],
    ids=["altered", "damaged", "not-an-archive"],
)
def test_what_is_wrong_never_enters_the_cache(
    known, publisher, tmp_path, progress, content, cause
) -> None:
    publisher.content = content
    cache = tmp_path / "cache"
    with pytest.raises(DataSetUnavailable, match=cause):
        fetching.fetch(known, cache / "table", progress, retry_wait_s=0)
    assert list(cache.iterdir()) == []


def test_names_both_hashes_when_the_content_is_another(known, tmp_path) -> None:
    other = tmp_path / "table.csv"
    other.write_bytes(TABLE.replace(b"3", b"4"))
    with pytest.raises(DataSetUnavailable) as caught:
        fetching.check(known, known.files[0], other)
    assert known.files[0].canonical_sha256 in str(caught.value)
    assert fetching.canonical_sha256(other, TextFormat()) in str(caught.value)


@pytest.mark.parametrize(
    ("copy", "same"),
    [
        (b"X1,X2\r\n3,?\r\n1,2.5\r\n", True),
        (b"a,b\n1.0,2.50\n3.00,?\n", True),
        (b"X1,X2\n\n1, 2.5\n3,?", True),
        (b"X1,X2\n1,2.51\n3,?\n", False),
        (b"X1,X2\n1,?\n3,2.5\n", False),
        (b"X1,X2\n1,2.5\n3,?\n3,?\n", False),
        (b"X1,X2\n12.5\n3,?\n", False),
    ],
    ids=["order-and-line-ends", "notation", "spaces", "value", "swapped", "twice", "joined"],
)
def test_canonical_hash_sees_content_and_not_form(tmp_path, copy: bytes, same: bool) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(TABLE)
    other.write_bytes(copy)
    hashes = [fetching.canonical_sha256(path, TextFormat()) for path in (one, other)]
    assert (hashes[0] == hashes[1]) is same


def test_a_table_without_header_loses_no_row(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1 2\n3 4\n")
    other.write_bytes(b"3 4\n")
    text = TextFormat(separator=" ", columns=("a", "b"))
    assert fetching.canonical_sha256(one, text) != fetching.canonical_sha256(other, text)


def test_renames_columns_of_a_plain_file(publisher, tmp_path, progress) -> None:
    publisher.content = TABLE
    data = PublicData(
        name="plain",
        summary="",
        licence="",
        citation="",
        url=publisher.url,
        files=(DataFile("plain.csv", renamed_columns=("one", "two")),),
    )
    fetching.fetch(data, tmp_path / "plain", progress)
    assert (tmp_path / "plain" / "plain.csv").read_bytes() == b"one,two\n1,2.5\n3,?\n"


def test_a_binary_file_is_known_by_either_hash(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    path.write_bytes(b"images")
    md5, sha256 = "59b514174bffe4ae402b3d63aad79fe0", fetching.file_sha256(path)
    data = PublicData(name="images", summary="", licence="", citation="")
    fetching.check(data, DataFile("images.npz", md5=md5), path)
    fetching.check(data, DataFile("images.npz", sha256=(sha256,), md5="0"), path)
    with pytest.raises(DataSetUnavailable):
        fetching.check(data, DataFile("images.npz", sha256=("1",), md5="0"), path)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    def fail() -> None:
        with fetching.whole_folder(folder) as staging:
            (staging / "half").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with fetching.whole_folder(folder) as staging:
        (staging / "file").touch()
        assert not folder.exists()
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_who_comes_second_keeps_what_the_first_one_made(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with fetching.whole_folder(folder) as second:
        (second / "file").write_text("second")
        with fetching.whole_folder(folder) as first:
            (first / "file").write_text("first")
    assert (folder / "file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_hash_of_a_folder_follows_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = fetching.file_sha256(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = fetching.file_sha256(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, second, fetching.file_sha256(tmp_path)}) == 3
