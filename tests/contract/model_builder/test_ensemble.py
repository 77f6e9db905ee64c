"""What the builder writes, a real Triton serves; both variants answer like the chained steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc as triton
from tritonclient.utils import np_to_triton_dtype

from model_builder.datasets import Places, resolve
from model_builder.discovery import Tasks
from model_builder.export.chain import run_steps
from model_builder.export.ensemble import write_models
from model_builder.progress import SilentProgress
from model_builder.task import Candidate
from triton_models.release import ensemble_name, fused_name, step_name
from triton_models.server import EmbeddedTriton
from triton_models.signatures import MAX_BATCH_ROWS, SCORE_RISK

pytestmark = pytest.mark.contract

LINE, RELEASE = "score-risk", "toy"
TESTS = next(folder for folder in Path(__file__).parents if folder.name == "tests")


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Candidate]:
    sys.path.insert(0, str(TESTS / "data"))
    task = Tasks("toy_tasks").load("toy")
    data = resolve("generated-credit", places=Places(tmp_path_factory.mktemp("cache")))
    yield task.build(data, task.config_type(), SilentProgress())
    sys.path.remove(str(TESTS / "data"))


@pytest.fixture(scope="module")
def client(
    candidate: Candidate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[triton.InferenceServerClient]:
    models = tmp_path_factory.mktemp("models")
    write_models(models, LINE, RELEASE, candidate.steps, SCORE_RISK)
    with EmbeddedTriton(models) as server:
        server.wait_ready()
        with triton.InferenceServerClient(server.target) as client:
            client.load_model(ensemble_name(LINE, RELEASE))
            client.load_model(fused_name(LINE, RELEASE))
            yield client


def ask(
    client: triton.InferenceServerClient, model: str, given: dict[str, np.ndarray]
) -> triton.InferResult:
    inputs = []
    for name, values in given.items():
        tensor = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    return client.infer(model, inputs)


def rows(count: int) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(count)
    numbers = draws.normal(size=(count, 2)).astype(np.float32)
    numbers[draws.random((count, 2)) < 0.2] = np.nan
    categories = draws.choice(["car", "holiday", "", "bateau à voile"], (count, 1))
    return {"numbers": numbers, "categories": categories.astype(object)}


@pytest.mark.parametrize("model", [ensemble_name(LINE, RELEASE), fused_name(LINE, RELEASE)])
@pytest.mark.parametrize("count", [1, 3, MAX_BATCH_ROWS])
def test_triton_answers_like_the_chain(client, candidate, count: int, model: str) -> None:
    given = rows(count)
    expected = run_steps(candidate.steps, given)
    answer = ask(client, model, given)
    for spec in SCORE_RISK.outputs:
        served = answer.as_numpy(spec.name)
        assert served.dtype == spec.dtype
        np.testing.assert_allclose(served, expected[spec.name], atol=1e-5, err_msg=spec.name)


def test_loading_the_ensemble_loads_its_steps(client, candidate) -> None:
    names = {model.name for model in client.get_model_repository_index().models if model.state}
    steps = {step_name(LINE, RELEASE, step.name) for step in candidate.steps}
    assert names == {ensemble_name(LINE, RELEASE), *steps, fused_name(LINE, RELEASE)}
    assert all(client.is_model_ready(name) for name in names)


@pytest.mark.parametrize("model", [ensemble_name(LINE, RELEASE), fused_name(LINE, RELEASE)])
def test_triton_sees_the_tensors_of_the_signature(client, model: str) -> None:
    metadata = client.get_model_metadata(model)
    assert [tensor.name for tensor in metadata.outputs] == [s.name for s in SCORE_RISK.outputs]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("numbers", "FP32", [-1, 2]),
        ("categories", "BYTES", [-1, 1]),
    ]
