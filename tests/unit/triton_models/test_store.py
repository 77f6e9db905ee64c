from __future__ import annotations

import functools
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import staged_release
from staged_release import LINE

from triton_models.hashing import file_hashes
from triton_models.release import Manifest, Metric, Routes, RouteTarget
from triton_models.storage import LocalStorage
from triton_models.store import ReleaseStore
from triton_models.store_errors import (
    BadName,
    FilesDiffer,
    ReleaseExists,
    ReleaseNotFound,
    RoutesChanged,
    StoreError,
    Unreadable,
)

Stage = Callable[..., tuple[Manifest, Path]]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Write the models of a release to a staging folder; gives its manifest and where they are."""
    return functools.partial(staged_release.stage, tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> ReleaseStore:
    return ReleaseStore(root)


@pytest.fixture(params=["folder", "bucket"])
def any_store(request: pytest.FixtureRequest, root: Path) -> ReleaseStore:
    return ReleaseStore(root if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


def test_a_published_release_is_read_back_whole(any_store: ReleaseStore, stage: Stage) -> None:
    unbounded = Metric(value=0.8, low=0.7, high=float("inf"))
    manifest, models = stage(metrics={"test": {"auc": unbounded}})

    path = any_store.publish(manifest, models, {"report.html": b"<p>", "plots/roc.svg": b"<svg>"})

    assert path == any_store.manifest_path(LINE, "r1")
    assert any_store.manifest(LINE, "r1") == manifest
    assert any_store.releases() == [(LINE, "r1")]


def test_a_store_in_a_folder_lies_as_documented(
    store: ReleaseStore, root: Path, stage: Stage
) -> None:
    manifest, models = stage()
    (models / f"{LINE}__r1" / "2").mkdir()  # empty, as Triton may ask for it

    store.publish(manifest, models, {"plots/roc.svg": b"<svg>"})

    assert store.models_path == str(root / "models")
    assert file_hashes(root / "models") == file_hashes(models)
    assert (root / "models" / f"{LINE}__r1" / "2").is_dir()
    assert (root / "releases" / LINE / "r1.json").is_file()
    assert Path(store.report_path(LINE, "r1"), "plots", "roc.svg").read_bytes() == b"<svg>"
    assert list((root / ".staging").iterdir()) == []


def test_an_empty_store_has_no_releases_and_no_routes(any_store: ReleaseStore) -> None:
    assert any_store.releases() == []
    assert any_store.routes() == (0, Routes())
    with pytest.raises(ReleaseNotFound, match="has no release score-risk/r1"):
        any_store.manifest(LINE, "r1")


def test_a_published_name_is_refused_and_nothing_changes(
    any_store: ReleaseStore, stage: Stage
) -> None:
    manifest, models = stage()
    any_store.publish(manifest, models, {})

    with pytest.raises(ReleaseExists, match="score-risk/r1 is already published"):
        any_store.publish(*stage(content=b"other"), {})

    assert any_store.manifest(LINE, "r1") == manifest


def test_a_flipped_byte_is_refused_and_nothing_is_written(
    store: ReleaseStore, root: Path, stage: Stage
) -> None:
    manifest, models = stage()
    path = f"{LINE}__r1__encode/1/model.onnx"
    (models / path).write_bytes(b"Weights")

    with pytest.raises(FilesDiffer) as caught:
        store.publish(manifest, models, {})

    assert caught.value.changed == (path,)
    assert not root.exists()


def test_missing_and_unexpected_files_are_all_named(store: ReleaseStore, stage: Stage) -> None:
    manifest, models = stage()
    (models / f"{LINE}__r1" / "config.pbtxt").unlink()
    (models / f"{LINE}__r1__encode" / "notes.txt").touch()

    with pytest.raises(FilesDiffer) as caught:
        store.publish(manifest, models, {})

    assert caught.value.missing == (f"{LINE}__r1/config.pbtxt",)
    assert caught.value.unexpected == (f"{LINE}__r1__encode/notes.txt",)


def test_a_model_of_another_release_is_refused(store: ReleaseStore, stage: Stage) -> None:
    manifest, models = stage("r1")
    manifest = manifest.model_copy(
        update={"release": "r"}
    )  # 'score-risk__r1' begins with 'score-risk__r'

    with pytest.raises(FilesDiffer, match="not in the manifest"):
        store.publish(manifest, models, {})


class PowerCut(Exception):
    pass


class CrashingStorage(LocalStorage):
    """A folder whose write after the first ``survived`` never happens."""

    def __init__(self, root: Path, survived: int) -> None:
        super().__init__(root)
        self._survived = iter(range(survived))

    def create(self, path: str, content: bytes) -> None:
        self._count()
        super().create(path, content)

    def replace(self, path: str, content: bytes) -> None:
        self._count()
        super().replace(path, content)

    def replace_folder(self, path: str, source: Path) -> None:
        self._count()
        super().replace_folder(path, source)

    def _count(self) -> None:
        if next(self._survived, None) is None:
            raise PowerCut


@pytest.mark.parametrize("survived", range(4), ids=["model", "model-2", "report", "manifest"])
def test_after_a_crash_nothing_is_published_and_the_name_is_free(
    root: Path, stage: Stage, survived: int
) -> None:
    whole, again = stage(content=b"whole")
    crashing = ReleaseStore(root, CrashingStorage(root, survived))

    with pytest.raises(PowerCut):
        crashing.publish(*stage(content=b"half"), {"report.html": b""})

    store = ReleaseStore(root)
    assert store.releases() == []
    store.publish(whole, again, {"report.html": b""})
    assert file_hashes(root / "models") == file_hashes(again)


def test_a_copy_that_stops_half_way_shows_no_model(
    store: ReleaseStore, root: Path, stage: Stage
) -> None:
    manifest, models = stage()
    encode = models / f"{LINE}__r1__encode"
    (encode / "2").symlink_to("nowhere")  # no file to hash, and copying it fails

    with pytest.raises(OSError, match="No such file"):
        store.publish(manifest, models, {})

    assert not (root / "models" / encode.name).exists()
    assert list((root / ".staging").iterdir()) == []


def test_leftovers_of_a_crash_do_not_stay_in_the_models(root: Path, stage: Stage) -> None:
    leftover = root / "models" / f"{LINE}__r1__encode" / "1" / "model.onnx.data"
    leftover.parent.mkdir(parents=True)
    leftover.touch()

    ReleaseStore(root).publish(*stage(), {})

    assert not leftover.exists()


def test_of_writers_of_one_name_one_wins_with_its_own_models(root: Path, stage: Stage) -> None:
    staged = [stage(content=bytes([number])) for number in range(4)]
    start = threading.Barrier(len(staged))
    refused: list[ReleaseExists] = []

    def publish(manifest: Manifest, models: Path) -> None:
        start.wait()
        try:
            ReleaseStore(root).publish(manifest, models, {})
        except ReleaseExists as error:
            refused.append(error)

    threads = [threading.Thread(target=publish, args=one) for one in staged]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 3
    assert ReleaseStore(root).manifest(LINE, "r1").files == file_hashes(root / "models")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b'{"line": "sco', "Invalid JSON"), (b"", "Invalid JSON"), (b"{}", "line: Field required")],
)
def test_a_torn_manifest_is_one_sentence_that_names_the_file(
    store: ReleaseStore, root: Path, content: bytes, reason: str
) -> None:
    path = root / "releases" / LINE / "r1.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)

    with pytest.raises(Unreadable, match=reason) as caught:
        store.manifest(LINE, "r1")

    assert caught.value.path == str(path)
    assert str(caught.value).count("\n") == 0


def test_a_manifest_under_another_name_is_refused(
    store: ReleaseStore, root: Path, stage: Stage
) -> None:
    path = store.publish(*stage(), {})
    Path(path).rename(root / "releases" / LINE / "r2.json")

    with pytest.raises(Unreadable, match="it is the manifest of score-risk/r1"):
        store.manifest(LINE, "r2")


@pytest.mark.parametrize(
    ("line", "release"), [("../x", "r1"), ("a__b", "r1"), ("", "r1"), (LINE, ".."), (LINE, "a/b")]
)
def test_names_that_would_leave_the_store_are_refused(
    any_store: ReleaseStore, line: str, release: str
) -> None:
    with pytest.raises(BadName):
        any_store.manifest(line, release)


def _routes(release: str) -> Routes:
    return Routes(lines={LINE: (RouteTarget(release=release, weight=0.5),)})


def test_the_highest_number_is_in_force(any_store: ReleaseStore) -> None:
    assert [any_store.add_routes(_routes(f"r{after}"), after) for after in range(11)] == list(
        range(1, 12)
    )

    assert any_store.routes() == (11, _routes("r10"))


@pytest.mark.parametrize("after", [0, 2])
def test_routes_are_only_added_to_what_was_read(any_store: ReleaseStore, after: int) -> None:
    any_store.add_routes(_routes("r1"), 0)

    with pytest.raises(RoutesChanged, match=f"number 1, expected {after}"):
        any_store.add_routes(_routes("r2"), after)

    assert any_store.routes() == (1, _routes("r1"))


def test_of_writers_of_one_route_number_one_wins(root: Path) -> None:
    start = threading.Barrier(4)
    won: list[str] = []

    def add(release: str) -> None:
        store = ReleaseStore(root)
        start.wait()
        try:
            store.add_routes(_routes(release), 0)
        except RoutesChanged:
            return
        won.append(release)

    threads = [threading.Thread(target=add, args=(f"r{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1
    assert ReleaseStore(root).routes() == (1, _routes(won[0]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [("lines: {", "no YAML"), ("", "valid dictionary"), ("lines: {a: [{weight: 2}]}", "lines.a.0")],
)
def test_damaged_routes_are_told_and_no_older_ones_used(
    store: ReleaseStore, root: Path, content: str, reason: str
) -> None:
    store.add_routes(_routes("r1"), 0)
    path = root / "routes" / "000002.yaml"
    path.write_text(content)

    with pytest.raises(Unreadable, match=reason) as caught:
        store.routes()

    assert caught.value.path == str(path)
    assert "\n" not in str(caught.value)


def test_every_error_of_the_store_has_one_root() -> None:
    errors = (BadName, FilesDiffer, ReleaseExists, ReleaseNotFound, RoutesChanged, Unreadable)

    assert all(issubclass(error, StoreError) for error in errors)
