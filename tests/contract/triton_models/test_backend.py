"""The backend ``onnxruntime`` in a real Triton: several requests at once, and some outputs only."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import spox
import spox.opset.ai.onnx.ml.v3 as ml
import spox.opset.ai.onnx.v18 as op
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from triton_models.server import EmbeddedTriton

pytestmark = pytest.mark.contract

CONFIG = """
backend: "onnxruntime"
max_batch_size: 1000
dynamic_batching { max_queue_delay_microseconds: 300000 }
instance_group [{ kind: KIND_CPU count: 1 }]
input [{ name: "letters" data_type: TYPE_STRING dims: [-1] }]
output [
  { name: "codes" data_type: TYPE_FP32 dims: [-1] },
  { name: "explained" data_type: TYPE_FP32 dims: [-1] }
]
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferenceServerClient]:
    """A Triton that waits for company before it runs ``codes``."""
    models = tmp_path_factory.mktemp("models")
    letters = spox.argument(spox.Tensor(np.str_, ("B", "T")))
    codes = ml.label_encoder(
        letters, keys_strings=["a", "b", "ü"], values_floats=[1.0, 2.0, 3.0], default_float=0.0
    )
    explained = op.mul(codes, op.const(np.float32(10)))
    model = spox.build({"letters": letters}, {"codes": codes, "explained": explained})
    (models / "codes" / "1").mkdir(parents=True)
    (models / "codes" / "config.pbtxt").write_text(CONFIG)
    (models / "codes" / "1" / "model.onnx").write_bytes(model.SerializeToString())
    with EmbeddedTriton(models) as server:
        server.wait_ready()
        with InferenceServerClient(server.target) as client:
            client.load_model("codes")
            yield client


def ask(client: InferenceServerClient, *rows: list[bytes], outputs: tuple[str, ...] = ()) -> object:
    tensor = InferInput("letters", [len(rows), len(rows[0])], "BYTES")
    tensor.set_data_from_numpy(np.array(rows, dtype=np.object_))
    wanted = [InferRequestedOutput(name) for name in outputs] or None
    answer = client.infer("codes", [tensor], outputs=wanted)
    return {o.name: answer.as_numpy(o.name).tolist() for o in answer.get_response().outputs}


def runs(client: InferenceServerClient) -> tuple[int, int]:
    """Rows answered, and executions."""
    (model,) = client.get_inference_statistics("codes").model_stats
    return int(model.inference_count), int(model.execution_count)


def test_requests_together_get_their_own_rows_though_they_differ(
    client: InferenceServerClient,
) -> None:
    asked = [
        ([b"a"], [b"b"]),
        (["ü".encode()],),
        ([b"a", b"b"],),  # of another width: Triton batches only what is alike
        ([b"?"], [b"b"], [b"a"]),
    ]
    rows, executions = runs(client)
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda some: ask(client, *some, outputs=("codes",)), asked))
    assert answers == [
        {"codes": [[1], [2]]},
        {"codes": [[3]]},
        {"codes": [[1, 2]]},
        {"codes": [[0], [2], [1]]},
    ]
    more_rows, more_executions = runs(client)
    assert more_rows - rows == 7
    assert more_executions - executions < len(asked), "nothing was batched"


def test_requests_together_may_want_different_outputs(client: InferenceServerClient) -> None:
    wanted = [("codes",), ("explained",), (), ("explained", "codes")]
    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = list(pool.map(lambda some: ask(client, [b"b"], outputs=some), wanted))
    assert answers == [
        {"codes": [[2]]},
        {"explained": [[20]]},
        {"codes": [[2]], "explained": [[20]]},
        {"codes": [[2]], "explained": [[20]]},
    ]


def test_a_bad_request_among_others_is_the_only_one_that_fails(
    client: InferenceServerClient,
) -> None:
    asked = [b"a", b"\xff", b"b"]

    def answer(letter: bytes) -> object:
        try:
            return ask(client, [letter], outputs=("codes",))
        except InferenceServerException as error:
            return str(error)

    with ThreadPoolExecutor(len(asked)) as pool:
        good, bad, other = pool.map(answer, asked)
    assert (good, other) == ({"codes": [[1]]}, {"codes": [[2]]})
    assert "holds bytes that are not UTF-8" in str(bad)


def test_some_outputs_are_the_same_whenever_the_model_is_cut(
    client: InferenceServerClient,
) -> None:
    answers = [ask(client, [b"a", b"b"], outputs=("explained",)) for _ in range(5)]
    assert answers == [{"explained": [[10, 20]]}] * 5
