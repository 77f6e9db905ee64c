from __future__ import annotations

import json
from pathlib import Path

import pytest

from triton_models.embedded.instances import config_with_instances

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
