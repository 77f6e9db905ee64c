from __future__ import annotations

import pytest
import torch

from model_builder.config import read_config
from model_builder.errors import ConfigInvalid
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.precision import as_computed


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx2": True}, "fp32"),
        ({"avx512_bf16": False, "amx_bf16": False}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
    ],
)
def test_what_the_processor_multiplies_fast_is_taken(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert as_computed(RecsysConfig().training).precision == precision


def test_what_is_said_is_taken_and_the_rest_of_the_training_stays():
    config = read_config(RecsysConfig, settings=["training.precision=fp32", "training.momentum=0"])
    assert as_computed(config.training) == config.training
    assert config.training.momentum == 0


@pytest.mark.parametrize("strategy", ["lora", "dora", "head", "gradual"])
def test_a_strategy_that_leaves_the_items_vectors_as_they_are_is_refused_by_name(strategy):
    with pytest.raises(ConfigInvalid, match=rf"training\.strategy: .*'{strategy}' does not apply"):
        read_config(RecsysConfig, settings=[f"training.strategy={strategy}"])
    assert read_config(RecsysConfig, settings=["training.strategy=full"]) == RecsysConfig()


def test_another_setting_of_the_training_leaves_the_precision_to_the_machine():
    config = read_config(RecsysConfig, settings=["training.clip_norm=2"])
    assert config.training.precision == "auto"
