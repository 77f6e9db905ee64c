from __future__ import annotations

from typing import Any

import pytest
from fake_triton import served
from manifests import manifest, timed
from tritonclient.grpc import model_config_pb2

from gateway.triton.check import differences
from triton_models.release import Tensor
from triton_models.signatures import SIGNATURES


def changed(tensors: tuple[Tensor, ...], name: str, /, **changes: Any) -> tuple[Tensor, ...]:
    return tuple(t.model_copy(update=changes) if t.name == name else t for t in tensors)


def without(tensors: tuple[Tensor, ...], name: str) -> tuple[Tensor, ...]:
    return tuple(tensor for tensor in tensors if tensor.name != name)


@pytest.mark.parametrize("line", SIGNATURES)
def test_a_release_that_is_served_as_it_says_has_no_difference(line: str) -> None:
    release = manifest(line)

    assert differences(release, *served(release)) == []


def test_a_recommender_may_read_times_or_not() -> None:
    release = timed(manifest("recommend"))
    assert differences(release, *served(release)) == []
    inputs = changed(release.inputs, "request_time", dims=(-1,))
    odd = release.model_copy(update={"inputs": inputs})
    assert differences(odd, *served(odd)) == [
        "input 'request_time': must be INT64 [1], the release says INT64 [-1]"
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_type": "FP64"}, "Triton serves FP64 [-1]"),
        ({"dims": (10,)}, "Triton serves FP32 [10]"),
        ({"dims": (-1, 1)}, "Triton serves FP32 [-1, 1]"),
    ],
    ids=["type", "size", "axes"],
)
def test_another_tensor_in_triton_is_told_in_words(change: dict[str, Any], words: str) -> None:
    release = manifest("recommend")
    other = release.model_copy(update={"outputs": changed(release.outputs, "scores", **change)})

    assert differences(release, *served(other)) == [
        f"output 'scores': the release says FP32 [-1], {words}"
    ]


def test_another_name_is_two_differences() -> None:
    release = manifest("recommend")
    outputs = changed(release.outputs, "scores", name="logits")

    found = differences(release, *served(release.model_copy(update={"outputs": outputs})))

    assert found == [
        "output 'scores': the release says FP32 [-1], Triton lacks it",
        "output 'logits': the release lacks it, Triton serves FP32 [-1]",
    ]


def test_all_differences_are_told_at_once() -> None:
    release = manifest("score-risk")
    other = release.model_copy(
        update={
            "inputs": changed(release.inputs, "numbers", data_type="INT64"),
            "outputs": changed(release.outputs, "score", dims=(2,)),
        }
    )

    found = differences(release, *served(other, max_batch_size=8))

    assert found == [
        "input 'numbers': the release says FP32 [-1], Triton serves INT64 [-1]",
        "output 'score': the release says FP32 [1], Triton serves FP32 [2]",
        "max_batch_size: the API allows 1000 rows, Triton takes 8",
    ]


def test_a_configuration_that_differs_from_what_is_served_is_told() -> None:
    release = manifest("recommend")
    metadata, config = served(release)
    config.output[1].data_type = model_config_pb2.TYPE_FP16

    assert differences(release, metadata, config) == [
        "output 'scores': the release says FP32 [-1], Triton is configured for FP16 [-1]"
    ]


def test_a_model_without_batches_is_told_as_that_alone() -> None:
    release = manifest("score-risk")

    assert differences(release, *served(release, max_batch_size=0)) == [
        "max_batch_size: the API allows 1000 rows, Triton takes 0"
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_type": "FP64"}, "output 'score': must be FP32 [1], the release says FP64 [1]"),
        ({"dims": (3,)}, "output 'score': must be FP32 [1], the release says FP32 [3]"),
        ({"dims": (-1,)}, "output 'score': must be FP32 [1], the release says FP32 [-1]"),
    ],
    ids=["type", "size", "varying"],
)
def test_a_release_that_does_not_fit_its_line_is_told(change: dict[str, Any], words: str) -> None:
    release = manifest("score-risk")
    release = release.model_copy(update={"outputs": changed(release.outputs, "score", **change)})

    assert differences(release, *served(release)) == [words]


def test_a_tensor_that_the_release_lacks_or_invents_is_told() -> None:
    release = manifest("score-risk")
    outputs = (*without(release.outputs, "score"), Tensor(name="odd", data_type="BOOL", dims=(1,)))
    release = release.model_copy(update={"outputs": outputs})

    assert differences(release, *served(release)) == [
        "output 'score': must be FP32 [1], the release lacks it",
        "output 'odd': the line has no such output",
    ]


def test_tensors_must_be_as_long_as_the_features() -> None:
    release = manifest("score-risk")  # three numbers, two categories
    inputs = changed(changed(release.inputs, "numbers", dims=(4,)), "categories", dims=(2,))
    release = release.model_copy(update={"inputs": inputs})

    assert differences(release, *served(release)) == [
        "input 'numbers': must be FP32 [3], the release says FP32 [4]"
    ]


def test_an_input_without_features_may_not_be_there() -> None:
    release = manifest("score-risk")
    numbers = tuple(feature for feature in release.features if feature.kind == "number")
    asked = manifest("score-risk", features=numbers, inputs=release.inputs)
    lacks = manifest("score-risk", features=numbers)

    assert differences(lacks, *served(lacks)) == []
    assert differences(asked, *served(asked)) == [
        "input 'categories': the release has it, but no feature for it"
    ]


def test_a_feature_needs_its_input() -> None:
    release = manifest("score-risk")
    release = release.model_copy(update={"inputs": without(release.inputs, "categories")})

    assert differences(release, *served(release)) == [
        "input 'categories': must be BYTES [2], the release lacks it"
    ]


def test_an_unknown_line_is_told() -> None:
    release = manifest("score-risk").model_copy(update={"line": "diagnose-sound"})

    assert differences(release, *served(release)) == [
        "line 'diagnose-sound' has no declared tensors in this gateway"
    ]


def test_a_release_for_notes_must_say_how_much_of_one_it_reads() -> None:
    release = manifest("diagnose-note", note=None)
    assert differences(release, *served(release)) == [
        "the release does not say how much of a note it reads"
    ]
