"""Two `promote` commands at the same moment: one wins, the other says so.

Ten times; TRIDENT_RACES=100 for as often as it was once shown.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from served import BIN
from staged_release import LINE, stage

from triton_models.release import RouteTarget
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.e2e

RACES = int(os.environ.get("TRIDENT_RACES", "10"))
RELEASES = ("r1", "r2")

PROGRAM = """
import sys
from model_builder import routing
from model_builder.cli import main
print("ready", flush=True)
sys.stdin.readline()
main()
"""
"""The command, which waits when all of it is imported: so that two come to the store together."""


def promote(store: ReleaseStore, release: str, after: int) -> subprocess.Popen[str]:
    words = ("promote", f"{LINE}/{release}", "--unproven", "--after", after, "--store", store.url)
    return subprocess.Popen(
        [BIN / "python", "-c", PROGRAM, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_two_promotions_at_once_one_wins_and_the_other_says_so(tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "store")
    for release in RELEASES:
        manifest, models = stage(tmp_path, release)
        store.publish(manifest, models, {})
    for number in range(1, RACES + 1):
        both = [promote(store, release, number - 1) for release in RELEASES]
        for process in both:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in both:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        said = [process.communicate(timeout=60)[1] for process in both]
        codes = [process.returncode for process in both]
        assert sorted(codes) == [0, 1], said
        won, lost = codes.index(0), codes.index(1)
        assert f"Route file {number} is in force (promote {LINE}/{RELEASES[won]})." in said[won]
        assert f"changed by somebody else (number {number}, expected {number - 1})" in said[lost]
        in_force, routes = store.routes()
        assert (in_force, routes.lines[LINE]) == (number, (RouteTarget(release=RELEASES[won]),))
