"""The example of a training on Kubernetes, against Kubeflow's own types and our own command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from model_builder.cli import cli

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy/k8s/examples/train-job.yaml").read_text())


def lost(given: Any, kept: Any, place: str = "") -> list[str]:
    """Return the places of ``given`` that are not the same in ``kept``."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            found
            for key, value in given.items()
            for found in lost(value, kept.get(key), f"{place}.{key}")
        ]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [
            found
            for number, (one, other) in enumerate(zip(given, kept, strict=True))
            for found in lost(one, other, f"{place}[{number}]")
        ]
    return [] if given == kept else [place]


def test_kubeflow_knows_every_field(job: dict[str, Any]) -> None:
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    read = TrainerV1alpha1TrainJob.from_dict(job)
    assert lost(job, json.loads(read.to_json())) == []
    job["spec"]["trainer"]["nodes"] = job["spec"]["trainer"].pop("numNodes")
    misread = json.loads(TrainerV1alpha1TrainJob.from_dict(job).to_json())
    assert lost(job, misread) == [".spec.trainer.nodes"]


def test_every_node_runs_torchrun_with_a_command_of_ours(job: dict[str, Any]) -> None:
    trainer = job["spec"]["trainer"]
    assert trainer["numNodes"] == 2
    assert trainer["command"][:3] == ["torchrun", "--no-python", "model-builder"]
    assert job["spec"]["runtimeRef"]["name"] == "torch-distributed"
    arguments = [*trainer["command"][3:], *trainer["args"]]
    result = CliRunner().invoke(cli, [*arguments, "--help"])
    assert result.exit_code == 0, result.output
    settings = [text.removeprefix("--set=") for text in trainer["args"] if "--set=" in text]
    from model_builder.config import read_config
    from model_builder.recsys.config import RecsysConfig

    training = read_config(RecsysConfig, settings=settings).training
    assert (training.precision, training.checkpoint_steps) == ("bf16", 500)


def test_a_pod_that_starts_anew_goes_on_with_the_run_that_all_of_them_see(job) -> None:
    arguments = job["spec"]["trainer"]["args"]
    assert "--resume" in arguments
    assert f"--run-name={job['metadata']['name']}" in arguments
    [node] = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"][
        "replicatedJobs"
    ]
    pod = node["template"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    [volume] = pod["volumes"]
    assert mounts["/trident"] == volume["name"]
    assert "persistentVolumeClaim" in volume
    for argument in ("--runs=", "--store="):
        [path] = [text for text in arguments if text.startswith(argument)]
        assert path.removeprefix(argument).startswith("/trident/")
