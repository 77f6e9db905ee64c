"""One running Triton for the session, and tiny models for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import spox
import spox.opset.ai.onnx.ml.v3 as ml
import spox.opset.ai.onnx.v18 as op
from tritonclient.grpc import InferenceServerClient

from triton_models.server import EmbeddedTriton

_CPU = "instance_group [{ kind: KIND_CPU count: 1 }]"


def _ports(kind: str, *tensors: tuple[str, str, str]) -> str:
    return "\n".join(
        f'{kind} [{{ name: "{name}" data_type: TYPE_{data_type} dims: {dims} }}]'
        for name, data_type, dims in tensors
    )


def _write(folder: Path, config: str, model: onnx.ModelProto | None = None) -> None:
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(config)
    if model is not None:
        (folder / "1" / "model.onnx").write_bytes(model.SerializeToString())


def _encode_model() -> onnx.ModelProto:
    """``letters`` (B, T) strings to ``codes`` (B, T) int32: a=1, b=2, ü=3, else 0."""
    letters = spox.argument(spox.Tensor(np.str_, ("B", "T")))
    codes = ml.label_encoder(
        letters, keys_strings=["a", "b", "ü"], values_int64s=[1, 2, 3], default_int64=0
    )
    return spox.build({"letters": letters}, {"codes": op.cast(codes, to=np.int32)})


def _decode_model() -> onnx.ModelProto:
    """``codes`` (B, T) int32 to ``capitals`` (B, T) strings, ``known`` bool, ``total`` (B, 1)."""
    codes = spox.argument(spox.Tensor(np.int32, ("B", "T")))
    capitals = ml.label_encoder(
        op.cast(codes, to=np.int64),
        keys_int64s=[1, 2, 3],
        values_strings=["A", "B", "Ü"],
        default_string="",
    )
    axis = op.const(np.array([1], np.int64))
    return spox.build(
        {"codes": codes},
        {
            "capitals": capitals,
            "known": op.greater(codes, op.const(np.int32(0))),
            "total": op.reduce_sum(op.cast(codes, to=np.float32), axis, keepdims=1),
        },
    )


def _write_letters(models: Path) -> None:
    backend = f'backend: "onnxruntime"\nmax_batch_size: 1000\n{_CPU}\n'
    letters = ("letters", "STRING", "[-1]")
    codes = ("codes", "INT32", "[-1]")
    answers = (
        ("capitals", "STRING", "[-1]"),
        ("known", "BOOL", "[-1]"),
        ("total", "FP32", "[1]"),
    )
    _write(
        models / "letters__encode",
        backend + _ports("input", letters) + "\n" + _ports("output", codes),
        _encode_model(),
    )
    _write(
        models / "letters__decode",
        backend + _ports("input", codes) + "\n" + _ports("output", *answers),
        _decode_model(),
    )
    outputs = "\n".join(
        f'output_map {{ key: "{name}" value: "{name}" }}' for name, _type, _dims in answers
    )
    _write(
        models / "letters",
        'platform: "ensemble"\nmax_batch_size: 1000\n'
        + _ports("input", letters)
        + "\n"
        + _ports("output", *answers)
        + f"""
ensemble_scheduling {{ step [
  {{ model_name: "letters__encode" model_version: -1
     input_map {{ key: "letters" value: "letters" }}
     output_map {{ key: "codes" value: "codes" }} }},
  {{ model_name: "letters__decode" model_version: -1
     input_map {{ key: "codes" value: "codes" }} {outputs} }}
] }}""",
    )


@pytest.fixture(scope="session")
def letters_models(
    tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None
) -> Path:
    """A model repository with the ensemble ``letters`` (encode, decode), and two broken models."""
    models = tmp_path_factory.mktemp("models")
    _write_letters(models)
    broken = 'backend: "onnxruntime"\nmax_batch_size: 8\n' + _CPU + "\n"
    codes = _ports("input", ("codes", "INT32", "[-1]"))
    total = _ports("output", ("total", "FP32", "[1]"))
    _write(models / "torn", f"{broken}{codes}\n{total}")
    (models / "torn" / "1" / "model.onnx").write_bytes(b"not a model")
    other = _ports("output", ("sum", "FP32", "[1]"))
    _write(models / "misnamed", f"{broken}{codes}\n{other}", _decode_model())
    return models


@pytest.fixture(scope="session")
def triton(letters_models: Path) -> Iterator[EmbeddedTriton]:
    """A running Triton that has ``letters`` loaded; tests must leave it so."""
    with EmbeddedTriton(letters_models) as server:
        server.wait_ready()
        with InferenceServerClient(server.target) as client:
            for name in ("letters__encode", "letters__decode", "letters"):
                client.load_model(name)
        yield server
