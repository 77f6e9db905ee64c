"""A release whose plans do not fit is refused before a Triton is asked, or even looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from toy_release import publish

from model_builder.cli import cli
from model_builder.errors import ProofFailed
from model_builder.progress import SilentProgress
from model_builder.proof.verifying import verify
from triton_models.plan_check import RunsOn
from triton_models.store import ReleaseStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, quick_torch: None) -> ReleaseStore:
    store = ReleaseStore(tmp_path_factory.mktemp("store"))
    publish(store, "r1")
    return store


def asked(store: ReleaseStore, *arguments: str) -> Result:
    folder = str(Path(store.models_path).parent)
    return CliRunner().invoke(cli, ["verify", "score-risk/r1", "--store", folder, *arguments])


def test_a_release_without_plans_cannot_run_where_plans_are_wanted(store: ReleaseStore) -> None:
    where = RunsOn("tensorrt", "9.0", "10.13.3")
    with pytest.raises(ProofFailed, match="cannot run there: step 'score' has no plan: run"):
        verify(store, "score-risk", "r1", SilentProgress(), triton="127.0.0.1:1", where=where)


def test_the_command_says_the_same(store: ReleaseStore) -> None:
    result = asked(store, "--triton", "127.0.0.1:1", "--profile", "tensorrt", "--gpu", "sm_90")
    assert result.exit_code == 1
    assert "model-builder compile score-risk/r1 --profile tensorrt" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--profile", "tensorrt"), "--profile tensorrt wants --triton"),
        (("--gpu", "sm_90"), "--gpu and --tensorrt are looked at with --profile"),
        (
            ("--triton", "a:1", "--profile", "tensorrt", "--gpu", "H100"),
            "must be a compute capability",
        ),
    ],
)
def test_what_makes_no_sense_is_a_wrong_use(
    store: ReleaseStore, arguments: tuple[str, ...], said: str
) -> None:
    result = asked(store, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
