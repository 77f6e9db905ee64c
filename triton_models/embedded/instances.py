"""Has the embedded Triton run several instances of each model.

A release says one, so that it runs anywhere. An instance here is a process that runs one request
at a time; the number is chosen for the machine when a model is loaded, and the store stays as it
is. Each instance holds the weights, so a large model has one, which computes with as many threads
instead: what takes long because it reads much is faster so even for one request.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

LARGE_BYTES = 64 * 1024 * 1024
"""Weights from which on a model is held once."""


def config_with_instances(models: Path, model: str, count: int) -> str:
    """Return a model's configuration with another number of instances, as Triton's load takes it.

    Args:
        models: The model repository.
        model: One of its models, no ensemble.
        count: Instances of each group; of a large model, threads of the one instance.
    """
    text = (models / model / "config.pbtxt").read_text(encoding="utf-8")
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    if not config.instance_group:
        config.instance_group.add(kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    large = _bytes(models / model) >= LARGE_BYTES
    for group in config.instance_group:
        group.count = 1 if large else count
    if large and not config.parameters["intra_op_thread_count"].string_value:
        config.parameters["intra_op_thread_count"].string_value = str(count)
    json: str = json_format.MessageToJson(config, preserving_proto_field_name=True)
    return json


def _bytes(model: Path) -> int:
    return max((file.stat().st_size for file in model.glob("*/*.onnx")), default=0)
