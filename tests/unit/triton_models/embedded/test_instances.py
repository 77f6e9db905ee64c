from __future__ import annotations

import json
from pathlib import Path

import pytest

from triton_models.embedded.instances import LARGE_BYTES, config_with_instances

CONFIG = """
name: "m"
backend: "onnxruntime"
max_batch_size: 1000
input { name: "x" data_type: TYPE_FP32 dims: -1 }
instance_group { count: 1 kind: KIND_CPU }
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.pbtxt").write_text(CONFIG)
    return tmp_path


def test_only_the_number_of_instances_is_another(models: Path) -> None:
    one, three = (json.loads(config_with_instances(models, "m", count)) for count in (1, 3))
    assert one.pop("instance_group") == [{"count": 1, "kind": "KIND_CPU"}]
    assert three.pop("instance_group") == [{"count": 3, "kind": "KIND_CPU"}]
    assert one == three
    assert one["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": ["-1"]}]


def test_a_model_that_says_nothing_gets_them_on_the_cpu(models: Path) -> None:
    (models / "m" / "config.pbtxt").write_text(CONFIG.replace("instance_group", "#"))
    changed = json.loads(config_with_instances(models, "m", 2))
    assert changed["instance_group"] == [{"count": 2, "kind": "KIND_CPU"}]


def test_the_store_stays_as_it_is(models: Path) -> None:
    config_with_instances(models, "m", 2)
    assert (models / "m" / "config.pbtxt").read_text() == CONFIG


def write_weights(models: Path, size: int) -> None:
    (models / "m" / "1").mkdir()
    with (models / "m" / "1" / "model.onnx").open("wb") as file:
        file.truncate(size)  # sparse: takes no room


def test_a_large_model_is_held_once_and_computes_with_threads_instead(models: Path) -> None:
    write_weights(models, LARGE_BYTES)
    changed = json.loads(config_with_instances(models, "m", 2))
    assert changed["instance_group"] == [{"count": 1, "kind": "KIND_CPU"}]
    assert changed["parameters"] == {"intra_op_thread_count": {"string_value": "2"}}


def test_a_model_just_below_that_is_held_by_each_instance(models: Path) -> None:
    write_weights(models, LARGE_BYTES - 1)
    changed = json.loads(config_with_instances(models, "m", 2))
    assert changed["instance_group"] == [{"count": 2, "kind": "KIND_CPU"}]
    assert "parameters" not in changed


def test_threads_that_the_store_says_are_left_as_they_are(models: Path) -> None:
    write_weights(models, LARGE_BYTES)
    said = 'parameters { key: "intra_op_thread_count" value { string_value: "7" } }'
    (models / "m" / "config.pbtxt").write_text(CONFIG + said)
    changed = json.loads(config_with_instances(models, "m", 2))
    assert changed["parameters"] == {"intra_op_thread_count": {"string_value": "7"}}
