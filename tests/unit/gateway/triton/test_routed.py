from __future__ import annotations

from pathlib import Path

import pytest
from manifests import manifest

from gateway.triton.routed import RoutedReleases
from triton_models.release import Manifest, Routes, RouteTarget
from triton_models.store import ReleaseStore
from triton_models.store_errors import Unreadable

KEY = ("score-risk", "r1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path, tmp_path: Path) -> ReleaseStore:
    """A store with ``score-risk/r1``, routed nowhere."""
    store = ReleaseStore(folder)
    publish(store, manifest("score-risk"), tmp_path)
    return store


def publish(store: ReleaseStore, release: Manifest, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir(exist_ok=True)
    store.publish(release, empty, {})


def route(store: ReleaseStore, *lines: tuple[str, str]) -> None:
    number, _ = store.routes()
    targets = {line: (RouteTarget(release=release),) for line, release in lines}
    store.add_routes(Routes(lines=targets), after=number)


async def test_a_store_without_routes_routes_nothing(store: ReleaseStore) -> None:
    routed = RoutedReleases(store)
    await routed.read()
    assert routed.lines == {}
    assert routed.manifest(KEY) is None
    assert routed.fault(KEY) == "its manifest is not read yet"


async def test_the_routes_in_force_come_with_the_manifests_of_their_releases(
    store: ReleaseStore,
) -> None:
    route(store, KEY)
    routed = RoutedReleases(store)
    await routed.read()
    assert routed.lines == {"score-risk": (RouteTarget(release="r1"),)}
    assert routed.manifest(KEY) == manifest("score-risk")


async def test_a_release_without_a_manifest_says_so_and_harms_no_other(
    store: ReleaseStore, folder: Path
) -> None:
    route(store, KEY, ("recommend", "r9"))
    routed = RoutedReleases(store)
    await routed.read()
    assert routed.manifest(KEY) is not None
    assert routed.manifest(("recommend", "r9")) is None
    assert routed.fault(("recommend", "r9")) == f"{folder} has no release recommend/r9"


async def test_a_manifest_that_comes_later_is_read_then(
    store: ReleaseStore, tmp_path: Path
) -> None:
    route(store, ("recommend", "r9"))
    routed = RoutedReleases(store)
    await routed.read()
    publish(store, manifest("recommend", "r9"), tmp_path)
    await routed.read_again()
    assert routed.manifest(("recommend", "r9")) is not None


async def test_a_manifest_is_read_once(store: ReleaseStore, folder: Path) -> None:
    reads: list[str] = []

    class Counting(ReleaseStore):
        def manifest(self, line: str, release: str) -> Manifest:
            reads.append(f"{line}/{release}")
            return super().manifest(line, release)

    route(store, KEY)
    routed = RoutedReleases(Counting(folder))
    await routed.read()
    await routed.read_again()
    assert reads == ["score-risk/r1"]


async def test_routes_that_nobody_understands_are_refused_at_first(
    store: ReleaseStore, folder: Path
) -> None:
    route(store, KEY)
    (folder / "routes" / "000002.yaml").write_text("lines: [")
    with pytest.raises(Unreadable, match="000002"):
        await RoutedReleases(store).read()


async def test_routes_that_become_unreadable_leave_the_last_ones_in_force_and_are_logged_once(
    store: ReleaseStore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    route(store, KEY)
    routed = RoutedReleases(store)
    await routed.read()
    (folder / "routes" / "000002.yaml").write_text("lines: [")
    for _ in range(3):
        await routed.read_again()
    assert routed.lines == {"score-risk": (RouteTarget(release="r1"),)}
    assert caplog.text.count("The routes cannot be read") == 1


async def test_routes_that_break_a_second_time_are_logged_again(
    store: ReleaseStore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    route(store, KEY)
    routed = RoutedReleases(store)
    bad = folder / "routes" / "000002.yaml"
    for _ in range(2):
        bad.write_text("lines: [")
        await routed.read_again()
        bad.unlink()
        await routed.read_again()
    assert caplog.text.count("The routes cannot be read") == 2


async def test_a_new_route_file_replaces_the_one_before(store: ReleaseStore) -> None:
    route(store, KEY)
    routed = RoutedReleases(store)
    await routed.read()
    route(store)
    await routed.read_again()
    assert routed.lines == {}
