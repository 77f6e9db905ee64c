"""The commands that prove: `build`, whose proof fails, and `verify` with its options."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import toy_release
from click.testing import CliRunner, Result
from signing_keys import make_keys
from spoiled import one_percent_more

from model_builder.cli import cli
from model_builder.discovery import Tasks
from model_builder.task import Candidate
from triton_models.release import Routes
from triton_models.server import EmbeddedTriton
from triton_models.signing import Signer
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

LINE = toy_release.LINE


def command(folder: Path, *words: object, tasks: Tasks | None = None) -> Result:
    environment = {
        "TRIDENT_CACHE_DIR": str(folder / "cache"),
        "TRIDENT_DATA_DIR": "",
        "TRIDENT_STORE": str(folder / "store"),
        "TRIDENT_GATE": str(toy_release.DATA / "gate_without_rules.yaml"),
        "TRIDENT_OUTGOING": str(folder / "outgoing"),
        "COLUMNS": "160",
    }
    return CliRunner().invoke(cli, [str(word) for word in words], obj=tasks, env=environment)


class Planted(Tasks):
    """The toy task, with a score that comes out 1 % higher once it was compared with torch's."""

    def load(self, name: str) -> Any:
        toy_release.candidate()  # has the package of the toy's task found
        toy = type(super().load(name))

        class PlantedToy(toy):  # type: ignore[misc, valid-type]
            def build(self, *given: Any) -> Candidate:
                candidate = super().build(*given)
                *others, decode = candidate.steps
                model = onnx.ModelProto()
                model.CopyFrom(decode.model)
                one_percent_more(model)
                return replace(candidate, steps=(*others, replace(decode, model=model)))

        return PlantedToy()


def test_a_build_whose_release_is_not_proven_exits_with_1_and_leaves_nothing(
    tmp_path: Path, embedded_triton_available: None
) -> None:
    toy_release.candidate()
    planted = Planted("toy_tasks")
    build = ("build", "toy", "--release", "bad", "--set", "epochs=1", "--json")
    done = command(tmp_path, *build, tasks=planted)
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    said = " ".join(done.stderr.split())
    assert "Error: not proven: score-risk__bad: output 'score' differs from torch by" in said
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    assert not (tmp_path / "outgoing").exists()
    unproven = command(tmp_path, *build, "--unproven", tasks=planted)
    assert unproven.exit_code == 0, "nothing else is wrong with it"


def test_verify_asks_the_triton_and_checks_with_the_key_that_it_is_given(
    tmp_path: Path, embedded_triton_available: None
) -> None:
    private, public = make_keys(tmp_path)
    _, others = make_keys(tmp_path, "others")
    store = ReleaseStore(tmp_path / "store")
    toy_release.publish(store, "r1", sign=Signer(private))
    with EmbeddedTriton(Path(store.models_path)) as triton:
        triton.wait_ready()
        target = triton.target
        verify = ("verify", f"{LINE}/r1", "--triton", target, "--public-key")
        done = command(tmp_path, *verify, public, "--json")
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert (found["release"], found["signed"]) == (f"{LINE}/r1", True)
        assert found["parity"].keys() == {"ensemble", "fused", "gateway"}
        assert f"{LINE}/r1 is proven: signed, " in " ".join(done.stderr.split())
        stranger = command(tmp_path, *verify, others)
        assert stranger.exit_code == 1
        assert "does not match the provided public key" in stranger.stderr
    assert store.routes() == (0, Routes()), "a proof routes nothing"
    gone = command(tmp_path, *verify, public)
    assert gone.exit_code == 1
    assert f"Triton at {target} cannot load {LINE}__r1" in gone.stderr
    no_key = command(tmp_path, "verify", f"{LINE}/r1", "--public-key", private)
    assert no_key.exit_code == 2
    assert "Invalid value for --public-key" in no_key.stderr
