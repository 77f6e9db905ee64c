from __future__ import annotations

import numpy as np
import onnx
import pytest

from model_builder.errors import ConfigInvalid
from model_builder.importing.errors import ImportMismatch
from model_builder.importing.mapping import Slot, match, read_names

NUMBERS = Slot("numbers", ("FP32",), (3,))
PLACES = Slot("categories", ("INT64", "INT32"), (2,))
LOGITS = Slot("logits", ("FP32",), (1,))
F, W = np.float32, np.int32


@pytest.fixture
def fit(network):
    def match_network(inputs, slots, names=None, **options):
        model = onnx.load(network(inputs, **options))
        return match("network.onnx", model, slots, [LOGITS], names or {})

    return match_network


def test_a_tensor_takes_the_place_of_its_name(fit):
    mapped = fit({"categories": (W, 2), "numbers": (F, 3)}, [NUMBERS, PLACES], output="logits")
    assert mapped.inputs == {"numbers": "numbers", "categories": "categories"}
    assert mapped.outputs == {"logits": "logits"}


def test_the_only_tensor_takes_the_only_place(fit):
    mapped = fit({"x": (F, 3)}, [NUMBERS])
    assert (mapped.inputs, mapped.outputs) == ({"numbers": "x"}, {"logits": "out"})


def test_names_decide(fit):
    names = {"numbers": "b", "categories": "a", "logits": "out"}
    mapped = fit({"a": (W, 2), "b": (F, 3)}, [NUMBERS, PLACES], names)
    assert mapped.inputs == {"numbers": "b", "categories": "a"}


def test_every_mismatch_is_named_at_once(fit):
    with pytest.raises(ImportMismatch) as caught:
        fit({"a": (F, 5), "b": (F, 2)}, [NUMBERS, PLACES],
            {"numbers": "a", "nmbrs": "a", "logits": "y"}, width=2)  # fmt: skip
    assert caught.value.differences == (
        "there is no place 'nmbrs', only numbers, categories, logits",
        "input 'numbers' must be FP32[*, 3], 'a' is FP32[*, 5]",
        "input 'categories' INT64 or INT32[*, 2] is missing; the network has 'a' FP32[*, 5], "
        "'b' FP32[*, 2] (--map categories=NAME)",
        "output 'logits' FP32[*, 1] is missing; the network has 'out' FP32[*, 2] "
        "(--map logits=NAME)",
        "input 'b' FP32[*, 2] takes no place",
    )
    assert str(caught.value).startswith("network.onnx does not fit:\n  there is no place")


def test_a_batch_that_is_fixed_does_not_fit(fit):
    with pytest.raises(ImportMismatch, match=r"must be FP32\[\*, 3\], 'x' is FP32\[4, 3\]"):
        fit({"x": (F, 3)}, [NUMBERS], batch=4)


def test_names_come_from_a_file_and_pairs_which_win(tmp_path):
    file = tmp_path / "map.yaml"
    file.write_text("numbers: a\nlogits: y\n")
    assert read_names(["numbers=b"], file) == {"numbers": "b", "logits": "y"}


@pytest.mark.parametrize("pair", ["numbers", "=a", "numbers="])
def test_a_pair_must_be_one(pair):
    with pytest.raises(ConfigInvalid, match="must be PLACE=NAME"):
        read_names([pair])


@pytest.mark.parametrize("text", ["- a", "a: ["])
def test_a_file_must_be_a_mapping(tmp_path, text):
    file = tmp_path / "map.yaml"
    file.write_text(text)
    with pytest.raises(ConfigInvalid, match=r"map\.yaml"):
        read_names([], file)
