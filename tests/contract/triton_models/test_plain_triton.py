"""A store is a Triton model repository: a plain Triton and its own client are all it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_releases as tiny
import toy_release
from tritonclient.grpc import InferenceServerClient, InferInput

from triton_models.release import Tensor
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

NUMPY = {"FP32": np.float32, "INT32": np.int32, "BOOL": np.bool_, "BYTES": np.object_}


def one_row(tensor: Tensor) -> InferInput:
    shape = [1, *(2 if size < 0 else size for size in tensor.dims)]
    fill = "m1" if tensor.data_type == "BYTES" else 1
    given = InferInput(tensor.name, shape, tensor.data_type)
    given.set_data_from_numpy(np.full(shape, fill, NUMPY[tensor.data_type]))
    return given


def test_every_ensemble_of_a_store_answers(tmp_path: Path, embedded_triton_available: None) -> None:
    store = ReleaseStore(tmp_path / "store")
    tiny.publish(store, tiny.recommender(), "r1")
    tiny.publish(store, tiny.diagnoser(), "r1")
    toy_release.publish(store, "r1")
    manifests = [store.manifest(*name) for name in store.releases()]
    assert {manifest.line for manifest in manifests} == {
        "recommend",
        "diagnose-measurements",
        "score-risk",
    }
    with EmbeddedTriton(Path(store.models_path)) as server:
        server.wait_ready()
        with InferenceServerClient(server.target) as client:
            for manifest in manifests:
                client.load_model(manifest.ensemble)  # brings its steps
                answer = client.infer(manifest.ensemble, [one_row(one) for one in manifest.inputs])
                for tensor in manifest.outputs:
                    array = answer.as_numpy(tensor.name)
                    assert array.shape[0] == 1, tensor.name
                    assert array.ndim == 1 + len(tensor.dims), tensor.name
