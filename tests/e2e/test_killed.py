"""kill -9 at random moments: the store stays readable and consistent, the next command succeeds.

Five times each; TRIDENT_KILLS=20 for as often as it was once shown.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import toy_release
from served import BIN, Gateway, run

from triton_models.store import ReleaseStore

pytestmark = pytest.mark.e2e

LINE = toy_release.LINE
KILLS = int(os.environ.get("TRIDENT_KILLS", "5"))
NO_RULES = Path(__file__).parents[1] / "data" / "gate_without_rules.yaml"
BUILD = ("build", "risk", "--data", "generated-credit", "--set", "epochs=1", "--set", "resamples=5",
         "--set", "cross_validate_below=0", "--unproven", "--gate", str(NO_RULES))  # fmt: skip


def check(store: ReleaseStore) -> None:
    """Everything that can be seen in a store is whole."""
    _, routes = store.routes()
    published = store.releases()
    for line, release in published:
        store.check_files(store.manifest(line, release))
    for line, targets in routes.lines.items():
        assert {(line, target.release) for target in targets} <= set(published)


def kill_somewhere(start: Callable[[], subprocess.Popen[bytes]], within_s: float) -> bool:
    """Kill a program at a random moment; return whether it was still running."""
    process = start()
    try:
        process.wait(random.uniform(0, within_s))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def starter(store: Path, *words: str) -> Callable[[], subprocess.Popen[bytes]]:
    return lambda: subprocess.Popen(
        [BIN / "model-builder", *words, "--store", store],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_builds_that_are_killed_leave_the_store_whole(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = ReleaseStore(folder)
    start_s = time.monotonic()
    assert run("model-builder", *BUILD, "--release", "first", "--store", folder).returncode == 0
    took_s = time.monotonic() - start_s
    killed = 0
    for number in range(KILLS):
        killed += kill_somewhere(starter(folder, *BUILD, "--release", f"k{number}"), took_s)
        check(store)
    assert killed, "no build was killed"
    done = run("model-builder", *BUILD, "--release", "last", "--store", folder)
    assert done.returncode == 0, done.stderr
    check(store)
    assert (LINE, "last") in store.releases()


def test_publishing_that_is_killed_leaves_the_store_whole(tmp_path: Path) -> None:
    """A build publishes in milliseconds: here it does nothing else, so that kills meet it."""
    folder = tmp_path / "store"
    store = ReleaseStore(folder)
    program = (
        "import sys; from pathlib import Path; from staged_release import stage;"
        "from triton_models.store import ReleaseStore; store = ReleaseStore(sys.argv[1])\n"
        "for n in range(10_000):\n"
        "    manifest, models = stage(Path(sys.argv[2]), f'{sys.argv[3]}.{n}')\n"
        "    store.publish(manifest, models, {'report.md': b'#' * 100_000})\n"
    )
    support = str(Path(toy_release.__file__).parent)
    for number in range(KILLS * 4):
        arguments = [program, str(folder), str(tmp_path / "staged"), f"k{number}"]
        process = subprocess.Popen(
            [BIN / "python", "-c", *arguments],
            env=os.environ | {"PYTHONPATH": os.pathsep.join((support, str(Path.cwd())))},
            start_new_session=True,
        )
        while not any(name.startswith(f"k{number}.") for _, name in store.releases()):
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.05))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        check(store)


def test_promotions_that_are_killed_leave_the_routes_whole(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = ReleaseStore(folder)
    for name in ("r1", "r2"):
        toy_release.publish(store, name)
    promote = ("promote", f"{LINE}/r1", "--unproven")
    start_s = time.monotonic()
    assert run("model-builder", *promote, "--store", folder).returncode == 0
    took_s = time.monotonic() - start_s
    killed = 0
    for number in range(KILLS):
        words = ("promote", f"{LINE}/r{1 + number % 2}", "--unproven")
        killed += kill_somewhere(starter(folder, *words), took_s)
        check(store)
        numbers = sorted(int(path.stem) for path in (folder / "routes").glob("*.yaml"))
        assert numbers == list(range(1, len(numbers) + 1))
        for one in numbers:
            store.routes_of(one)
    assert killed, "no promotion was killed"
    assert run("model-builder", *promote, "--store", folder).returncode == 0


def test_gateways_that_are_killed_leave_nothing_behind_and_the_next_one_serves(
    tmp_path: Path, embedded_triton_available: None
) -> None:
    folder = tmp_path / "store"
    store = ReleaseStore(folder)
    toy_release.publish(store, "r1")
    assert run("model-builder", "promote", f"{LINE}/r1", "--unproven", "--store", folder).returncode == 0  # fmt: skip # noqa: E501
    gateway = Gateway(folder, tmp_path)
    start_s = time.monotonic()
    gateway.start()
    took_s = time.monotonic() - start_s
    assert gateway.stop() == 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [BIN / "gateway", "serve", "--embedded", "--listen", "127.0.0.1:0", "--store", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
        )
        time.sleep(random.uniform(0.1, 1.5 * took_s))
        process.kill()
        process.wait()
        check(store)
    gateway.start()
    assert gateway.health() == 1
    assert gateway.stop() == 0
    deadline = time.monotonic() + 30
    while left := _processes_of(folder):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.1)


def _processes_of(folder: Path) -> list[str]:
    """The command lines that name a store: no gateway and no Triton may be left."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in words and path.parent.name != str(os.getpid()):
            found.append(words)
    return found
