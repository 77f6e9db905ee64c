"""A store in a bucket, over the real API of S3: moto's server, spoken to by botocore."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import tiny_releases as tiny
import toy_release
from fake_triton import Changes
from moto.server import ThreadedMotoServer
from signing_keys import make_keys
from staged_release import LINE, stage

from gateway.triton.client import TritonClient
from gateway.triton.lifecycle import Lifecycle
from model_builder import routing
from model_builder.errors import ReleaseUnusable
from model_builder.outgoing import keep, upload
from model_builder.progress import SilentProgress
from model_builder.proof.verifying import verify
from triton_models.hashing import file_hashes
from triton_models.release import Routes, RouteTarget
from triton_models.remote_storage import RemoteStorage
from triton_models.server import EmbeddedTriton
from triton_models.signing import Signer, Verifier
from triton_models.store import ReleaseStore
from triton_models.store_errors import FilesAltered, ReleaseExists, ReleaseNotFound, RoutesChanged
from triton_models.trust import Trust

pytestmark = pytest.mark.contract

_buckets = itertools.count()


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("no_proxy", host)
        yield
    server.stop()


@pytest.fixture
def url(s3: None) -> str:
    """A new bucket, and a folder in it."""
    bucket = f"releases-{next(_buckets)}"
    fsspec.filesystem("s3").mkdir(bucket)
    return f"s3://{bucket}/trident"


@pytest.fixture
def store(url: str) -> ReleaseStore:
    return ReleaseStore(url)


def test_a_release_is_published_read_checked_fetched_and_removed(
    store: ReleaseStore, url: str, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path)
    manifest, models = stage(tmp_path)
    path = store.publish(manifest, models, {"plots/roc.svg": b"<svg>"}, Signer(private))
    assert path == f"{url}/releases/{LINE}/r1.json"
    assert store.remote
    assert store.models_path == f"{url}/models"
    again = ReleaseStore(url)
    assert again.releases() == [(LINE, "r1")]
    found = Trust(Verifier(public), required=True).manifest(again, LINE, "r1")
    again.check_files(found)
    again.fetch_models(found, tmp_path / "fetched")
    assert file_hashes(tmp_path / "fetched") == manifest.files
    assert again.report(LINE, "r1", "plots/roc.svg") == b"<svg>"
    again.remove(LINE, "r1")
    assert again.releases() == []
    assert fsspec.filesystem("s3").find(url) == []


def test_an_empty_bucket_has_nothing(store: ReleaseStore) -> None:
    assert store.releases() == []
    assert store.routes() == (0, Routes())
    with pytest.raises(ReleaseNotFound):
        store.manifest(LINE, "r1")


def test_a_bucket_that_is_not_there_is_an_os_error(s3: None, tmp_path: Path) -> None:
    manifest, models = stage(tmp_path)
    with pytest.raises(OSError, match="bucket"):
        ReleaseStore("s3://nowhere-at-all/x").publish(manifest, models, {})


def test_a_name_that_is_taken_stays_as_it_is(store: ReleaseStore, tmp_path: Path) -> None:
    manifest, models = stage(tmp_path)
    store.publish(manifest, models, {})
    with pytest.raises(ReleaseExists):
        store.publish(*stage(tmp_path, content=b"other"), {})
    store.check_files(store.manifest(LINE, "r1"))


def test_of_many_who_write_one_route_number_one_wins(url: str) -> None:
    start, won, lost = threading.Barrier(8), [], []

    def add(release: str) -> None:
        store = ReleaseStore(url)
        routes = Routes(lines={LINE: (RouteTarget(release=release),)})
        start.wait()
        try:
            store.add_routes(routes, after=0)
            won.append(routes)
        except RoutesChanged as error:
            lost.append(error)

    threads = [threading.Thread(target=add, args=(f"r{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    assert ReleaseStore(url).routes() == (1, won[0])


def test_a_truncated_object_names_the_file(store: ReleaseStore, url: str, tmp_path: Path) -> None:
    manifest, models = stage(tmp_path)
    store.publish(manifest, models, {})
    name = f"{LINE}__r1__encode/1/model.onnx"
    fsspec.filesystem("s3").pipe_file(f"{url}/models/{name}", b"wei")
    with pytest.raises(FilesAltered, match=f"changed: {name}"):
        ReleaseStore(url).check_files(manifest)


class Counted:
    """A file system that notes which files are sent, and fails after some."""

    def __init__(self, filesystem: Any, survives: int) -> None:
        self._filesystem = filesystem
        self._survives = survives
        self.sent: list[str] = []

    def put_file(self, local: str, remote: str) -> None:
        if len(self.sent) >= self._survives:
            raise ConnectionError("the network is gone")
        self._filesystem.put_file(local, remote)
        self.sent.append(remote.rpartition("models/")[2])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._filesystem, name)


def counted(url: str, survives: int = 1000) -> tuple[ReleaseStore, Counted]:
    filesystem, root = fsspec.url_to_fs(url)
    network = Counted(filesystem, survives)
    return ReleaseStore(url, RemoteStorage(network, root)), network


def test_an_upload_that_broke_off_goes_on_with_what_is_missing(url: str, tmp_path: Path) -> None:
    manifest, models = stage(tmp_path)
    place = keep(tmp_path / "outgoing", manifest, models, {"report.md": b"#"})
    store, cut = counted(url, survives=2)
    with pytest.raises(OSError, match="the network is gone"):
        upload(place, store)
    assert len(cut.sent) == 2
    assert ReleaseStore(url).releases() == [], "half a release was seen"
    store, rest = counted(url)
    upload(place, store)
    assert sorted(cut.sent + rest.sent) == sorted(manifest.files), "a file was sent twice"
    ReleaseStore(url).check_files(ReleaseStore(url).manifest(LINE, "r1"))
    assert not place.exists()
    assert not [one for one in fsspec.filesystem("s3").find(url) if "/uploads/" in one]
    with pytest.raises(ReleaseUnusable, match="no whole release was kept there"):
        upload(place, ReleaseStore(url))


def test_what_another_upload_left_is_not_taken_for_ours(url: str, tmp_path: Path) -> None:
    other, others = stage(tmp_path, content=b"another")
    with pytest.raises(OSError, match="the network is gone"):
        counted(url, survives=3)[0].publish(other, others, {})
    manifest, models = stage(tmp_path)
    ReleaseStore(url).publish(manifest, models, {})
    ReleaseStore(url).check_files(manifest)


def test_a_large_file_goes_in_parts(store: ReleaseStore, tmp_path: Path) -> None:
    manifest, models = stage(tmp_path, content=bytes(range(256)) * 4 * 1024 * 60)  # 60 MiB
    store.publish(manifest, models, {})
    store.check_files(manifest)


def test_a_release_in_a_bucket_is_proven(
    store: ReleaseStore, embedded_triton_available: None
) -> None:
    toy_release.publish(store, "r1")
    found = verify(store, LINE, "r1", SilentProgress())
    assert set(found.proof.served_parity) == {"ensemble", "fused", "gateway"}


async def test_a_gateway_follows_a_bucket_while_its_triton_reads_a_copy(
    store: ReleaseStore, url: str, tmp_path: Path, embedded_triton_available: None
) -> None:
    line = "diagnose-measurements"
    models = tmp_path / "models"
    models.mkdir()
    for name in ("r1", "r2"):
        tiny.publish(store, tiny.diagnoser(), name)
        store.fetch_models(store.manifest(line, name), tmp_path / name)
        for folder in (tmp_path / name).iterdir():
            folder.rename(models / folder.name)
    routing.promote(store, line, "r1", unproven=True)
    changes = Changes()
    with EmbeddedTriton(models) as triton:
        triton.wait_ready()
        lifecycle = Lifecycle(
            ReleaseStore(url),
            [TritonClient(triton.target)],
            poll_s=0.05,
            store_poll_s=0.05,
            on_change=changes,
        )
        await lifecycle.start()
        try:
            for name in ("r1", "r2"):
                await asyncio.to_thread(routing.promote, store, line, name, unproven=True)
                async with asyncio.timeout(30):
                    await changes.until(
                        lambda name=name: [
                            (one.release, one.weight) for one in lifecycle.states if one.clients
                        ] == [(name, 1)]
                    )  # fmt: skip
        finally:
            await lifecycle.stop()
