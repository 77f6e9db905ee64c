"""What is written for GPUs, before a real Triton that has none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from toy_release import candidate, publish
from tritonclient import grpc as triton
from tritonclient.grpc import model_config_pb2 as mc
from tritonclient.utils import InferenceServerException

from triton_models.embedded.command import Launch
from triton_models.embedded.instances import config_with_instances
from triton_models.plan_check import RunsOn, plan_faults
from triton_models.plans import PROFILES
from triton_models.release import Manifest
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

CORE = "score-risk__r1__score"


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None
) -> ReleaseStore:
    return ReleaseStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def release(store: ReleaseStore) -> Manifest:
    return publish(store, "r1")


@pytest.fixture
def client(
    store: ReleaseStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[triton.InferenceServerClient]:
    """Of a Triton on that store; its parameter is what is given as ``--model-config-name``."""
    plain = Launch.arguments
    profile = getattr(request, "param", "")
    more = [f"--model-config-name={profile}"] if profile else []
    monkeypatch.setattr(Launch, "arguments", lambda launch: [*plain(launch), *more])
    with EmbeddedTriton(Path(store.models_path), restart=False) as server:
        server.wait_ready()
        with triton.InferenceServerClient(server.target) as client:
            yield client


def test_triton_warms_the_core_up_with_a_recorded_row(
    client: triton.InferenceServerClient, release: Manifest
) -> None:
    client.load_model(CORE)
    config = client.get_model_config(CORE).config
    (warmup,) = config.model_warmup
    assert warmup.inputs["features"].input_data_file == "features.bin"


def test_a_core_that_is_loaded_with_more_instances_finds_its_row_too(
    client: triton.InferenceServerClient, store: ReleaseStore, release: Manifest
) -> None:
    config = config_with_instances(Path(store.models_path), CORE, 2)
    client.load_model(CORE, config=config)
    (group,) = client.get_model_config(CORE).config.instance_group
    assert group.count == 2


def test_triton_reads_the_recorded_row_and_refuses_one_of_another_size(
    client: triton.InferenceServerClient, store: ReleaseStore, release: Manifest
) -> None:
    file = Path(store.models_path, CORE, "warmup", "features.bin")
    content = file.read_bytes()
    try:
        file.write_bytes(content[:-4])
        with pytest.raises(InferenceServerException, match="warm"):
            client.load_model(CORE)
    finally:
        file.write_bytes(content)
    client.load_model(CORE)
    assert client.is_model_ready(CORE)


@pytest.mark.parametrize("client", ["onnx-cuda"], indirect=True)
def test_steps_without_the_profile_run_as_on_any_machine(
    client: triton.InferenceServerClient, release: Manifest
) -> None:
    for step in ("encode", "decode"):
        client.load_model(f"score-risk__r1__{step}")
        (group,) = client.get_model_config(f"score-risk__r1__{step}").config.instance_group
        assert group.kind == mc.ModelInstanceGroup.KIND_CPU
    with pytest.raises(InferenceServerException, match="GPU"):
        client.load_model(CORE)  # whose profile Triton took, and found no GPU


@pytest.mark.parametrize("client", ["tensorrt"], indirect=True)
def test_a_plan_that_is_not_there_is_told_before_triton_tells_it_in_its_way(
    client: triton.InferenceServerClient, release: Manifest
) -> None:
    (fault,) = plan_faults(release, RunsOn("tensorrt"))
    assert fault.startswith("step 'score' has no plan: run `model-builder compile score-risk/r1")
    with pytest.raises(InferenceServerException) as raised:
        client.load_model(release.ensemble)
    assert "has no plan" not in str(raised.value)


@pytest.mark.parametrize("client", ["h100"], indirect=True)
def test_a_profile_that_no_release_has_changes_nothing(
    client: triton.InferenceServerClient, release: Manifest
) -> None:
    client.load_model(release.ensemble)
    inputs, expected = candidate().recorded.batch(np.array([0, 1]))  # type: ignore[union-attr]
    asked = []
    for name, array in inputs.items():
        kind = "BYTES" if array.dtype == object else "FP32"
        one = triton.InferInput(name, list(array.shape), kind)
        one.set_data_from_numpy(array)
        asked.append(one)
    answer = client.infer(release.ensemble, asked).as_numpy("default_probability")
    np.testing.assert_allclose(answer, expected["default_probability"], atol=1e-5)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_a_configuration_as_triton_has_it(
    store: ReleaseStore, release: Manifest, profile: str
) -> None:
    text = store.model_file(release, f"{CORE}/configs/{profile}.pbtxt").decode()
    config = text_format.Parse(text, mc.ModelConfig())
    assert config.name == CORE
    assert text_format.Parse(text_format.MessageToString(config), mc.ModelConfig()) == config
