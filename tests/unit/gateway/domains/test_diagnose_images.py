from __future__ import annotations

import io

import numpy as np
import pictures
import pytest
from fake_runner import Outputs, looked_at
from manifests import LABELS, manifest
from PIL import Image as Picture

from gateway.domains import diagnose
from gateway.domains.diagnose_images import ImageRow, images_to_tensors
from gateway.domains.domain import RowRefused, requests_to_tensors
from gateway.domains.validation import Violations
from gateway.errors import InvalidRequest, ModelContractBroken
from trident.common.v1.served_by_pb2 import ServedBy
from trident.diagnose.v1.diagnose_service_pb2 import (
    REVIEW_REASON_LOW_CONFIDENCE,
    REVIEW_REASON_UNUSUAL_EVIDENCE,
    DiagnoseRequest,
    DiagnoseResponse,
    Image,
)
from triton_models.images import encode_png
from triton_models.release import ImageSpec, most_rows

RELEASE = manifest("diagnose-image")
_SMALL = encode_png(np.zeros((28, 28), np.uint8))
SERVED_BY = ServedBy(line="diagnose-image", release="r1", variant="fused")


def asked(
    grey: int = 128, size: tuple[int, int] = (8, 8), explain: bool = False
) -> DiagnoseRequest:
    content = encode_png(np.full((size[1], size[0]), grey, np.uint8))
    image = Image(content=content, media_type="image/png")
    return DiagnoseRequest(image=image, explain=explain)


def complaints(request: DiagnoseRequest) -> dict[str, str]:
    violations = Violations()
    assert diagnose.check(request, violations) == "diagnose-image"
    diagnose.check_schema(request, RELEASE, violations)
    return violations.found


def answered(request: DiagnoseRequest, **changes: np.ndarray) -> DiagnoseResponse:
    outputs = answer([request]) | changes
    (response,) = diagnose.tensors_to_responses(outputs, [request], RELEASE, SERVED_BY)
    return response


def answer(requests: list[DiagnoseRequest]) -> Outputs:
    outputs = looked_at(requests_to_tensors(diagnose, requests, RELEASE), RELEASE)
    return {name: outputs[name] for name in diagnose.wanted_outputs(requests)}


def test_an_image_becomes_the_pixels_of_the_release() -> None:
    requests = [asked(10), asked(200, size=(30, 20))]
    tensors = requests_to_tensors(diagnose, requests, RELEASE)
    assert tensors["pixels"].dtype == np.uint8
    assert tensors["pixels"].shape == (2, 8, 8, 1)
    assert tensors["pixels"].mean(axis=(1, 2, 3)).tolist() == [10, 200]


def test_the_plain_way_gives_the_same_row_as_the_careful_one() -> None:
    request = asked()
    assert diagnose.read(request, RELEASE) == diagnose.row(request, RELEASE)
    assert complaints(request) == {}


@pytest.mark.parametrize(
    "image",
    [
        Image(media_type="image/png"),
        Image(content=b"x", media_type="image/gif"),
        Image(content=bytes(10 * 1024 * 1024 + 1), media_type="image/png"),
    ],
    ids=["empty", "type", "size"],
)
def test_what_is_plainly_wrong_is_told_before_anything_is_decoded(image: Image) -> None:
    request = DiagnoseRequest(image=image)
    assert diagnose.read(request, RELEASE) is None
    (path,) = complaints(request)
    assert path in ("image.content", "image.media_type")


def test_a_row_that_cannot_be_made_names_the_field() -> None:
    row = ImageRow(pictures.bomb(), "image/png", ImageSpec(height=8, width=8, channels=1))
    with pytest.raises(RowRefused) as refused:
        row.made()
    assert refused.value.path == "image.content"
    assert "25000000 pixels" in refused.value.text


@pytest.mark.parametrize(
    ("content", "media_type", "quick"),
    [
        (encode_png(np.zeros((28, 28), np.uint8)), "image/png", True),
        (encode_png(np.zeros((300, 300), np.uint8)), "image/png", False),
        (pictures.bomb(), "image/png", False),
        (pictures.jpeg(np.zeros((28, 28), np.uint8)), "image/jpeg", False),
        (pictures.with_chunks(_SMALL, [(b"gAMA", bytes(4))], place=8), "image/png", False),
        (pictures.with_chunks(_SMALL, [(b"gAMA", b"")] * 40_000), "image/png", False),
        (pictures.with_chunks(_SMALL, [(b"gAMA", bytes(300_000))]), "image/png", False),
    ],
    ids=["small", "large", "bomb", "jpeg", "header behind", "many chunks", "many bytes"],
)
def test_only_small_pngs_are_decoded_where_calls_are_answered(
    content: bytes, media_type: str, quick: bool
) -> None:
    assert ImageRow(content, media_type, ImageSpec(height=8, width=8, channels=1)).quick == quick


def test_findings_come_sorted_without_a_picture_that_nobody_wants() -> None:
    response = answered(asked(51))
    assert [finding.label for finding in response.findings] == [LABELS[0], LABELS[1], LABELS[2]]
    assert response.findings[0].probability == pytest.approx(0.72, abs=1e-6)
    assert not response.HasField("explanation")
    assert not response.needs_review


def test_an_image_unlike_the_training_data_needs_a_person() -> None:
    response = answered(asked(250))
    assert list(response.review_reasons) == [REVIEW_REASON_UNUSUAL_EVIDENCE]
    assert response.needs_review


def test_both_reasons_for_a_review_are_told() -> None:
    response = answered(asked(128), unusualness=np.array([[1.01]], np.float32))
    reasons = [REVIEW_REASON_LOW_CONFIDENCE, REVIEW_REASON_UNUSUAL_EVIDENCE]
    assert list(response.review_reasons) == reasons


def test_a_picture_as_large_as_the_image_shows_where_the_evidence_lies() -> None:
    response = answered(asked(250, size=(40, 40), explain=True))
    assert response.explanation.label == "malignant"
    shown = np.asarray(Picture.open(io.BytesIO(response.explanation.saliency.png)))
    assert shown.shape == (40, 40)
    assert shown[2, 2] > 200
    assert not shown[20:, 20:].any()


def test_an_answer_without_the_distance_is_a_broken_contract() -> None:
    with pytest.raises(ModelContractBroken):
        answered(asked(), unusualness=np.zeros((1, 2), np.float32))


def test_more_pixels_than_a_batch_may_have_are_refused() -> None:
    spec = ImageSpec(height=2048, width=2048, channels=3)
    release = manifest("diagnose-image", image=spec)
    rows = [np.zeros((1,), np.uint8)] * 6
    with pytest.raises(InvalidRequest, match="requests: must have at most 5 images of 2048 x 2048"):
        images_to_tensors(rows, release)


def test_companions_are_never_more_images_than_a_batch_may_have() -> None:
    assert most_rows(manifest("diagnose-image")) == 1000
    release = manifest("diagnose-image", image=ImageSpec(height=1024, width=1024, channels=3))
    assert most_rows(release) == 21
    rows = [np.zeros((2,), np.uint8)] * most_rows(release)
    assert len(images_to_tensors(rows, release)["pixels"]) == 21
