"""A diagnosis from images, built by the command line and asked as a client asks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pictures
import pytest
from google.rpc import error_details_pb2, status_pb2
from PIL import Image
from planted_images import SQUARE, write_archive
from served import Built, Gateway, run

from trident.diagnose.v1 import diagnose_service_pb2 as pb
from trident.diagnose.v1.diagnose_service_pb2_grpc import DiagnoseServiceStub
from triton_models.images import DICOM, JPEG, PNG, encode_png
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.e2e

LINE = "diagnose-image"
QUICK = ("steps=40", "members=1", "width=8", "batch_size=32", "resamples=20",
         "training.ema_decay=0.8", "augment.mixup=0", "augment.cutout=0")  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None) -> Built:
    folder = tmp_path_factory.mktemp("images")
    archive = write_archive(folder / "planted.npz")
    settings = [word for setting in QUICK for word in ("--set", setting)]
    done = run("model-builder", "build", "diagnosis", "--data", archive, *settings,
               "--store", folder / "store", "--runs", folder / "runs", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["line"] == LINE
    assert said["metrics"]["test"]["auc"]["value"] > 0.99
    return Built({LINE: said}, ReleaseStore(folder / "store"), folder / "store")


@pytest.fixture(scope="module")
def server(images: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    server = Gateway(images.path, tmp_path_factory.mktemp("gateway"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def stub(server: Gateway) -> Iterator[DiagnoseServiceStub]:
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.target, options=options) as channel:
        yield DiagnoseServiceStub(channel)


def request(content: bytes, media_type: str = PNG, explain: bool = False) -> pb.DiagnoseRequest:
    image = pb.Image(content=content, media_type=media_type)
    return pb.DiagnoseRequest(image=image, explain=explain)


def test_every_test_image_is_answered_as_torch_did(
    images: Built, stub: DiagnoseServiceStub
) -> None:
    rows, manifest = images.test_rows(LINE), images.manifest(LINE)
    assert set(manifest.served_parity) == {"ensemble", "fused", "gateway"}
    requests = [request(row["image"]) for row in rows]
    batch = stub.BatchDiagnose(pb.BatchDiagnoseRequest(requests=requests))
    assert len(batch.responses) == len(rows) == manifest.data.split["test"]
    for row, response in zip(rows, batch.responses, strict=True):
        found = {finding.label: finding.probability for finding in response.findings}
        for label, expected in zip(manifest.labels, row["probabilities"], strict=True):
            assert found[label] == pytest.approx(expected, rel=0, abs=1e-4)
        unusual = pb.REVIEW_REASON_UNUSUAL_EVIDENCE in response.review_reasons
        assert unusual == row["unusual"]


@pytest.mark.parametrize("media_type", [PNG, JPEG, DICOM])
def test_a_larger_picture_of_any_type_is_found_and_explained(
    images: Built, stub: DiagnoseServiceStub, media_type: str
) -> None:
    rows = [row for row in images.test_rows(LINE) if row["target"] == 1]
    small = np.asarray(Image.open(io.BytesIO(rows[0]["image"])))
    large = np.asarray(Image.fromarray(small).resize((280, 280), Image.Resampling.NEAREST))
    encode = {PNG: encode_png, JPEG: pictures.jpeg, DICOM: pictures.dicom}[media_type]
    response = stub.Diagnose(request(encode(large), media_type, explain=True))
    assert response.findings[0].label == "1"
    assert response.explanation.label == "1"
    shown = np.asarray(Image.open(io.BytesIO(response.explanation.saliency.png)))
    assert shown.shape == (280, 280)
    y, x = np.unravel_index(shown.argmax(), shown.shape)
    assert 10 * SQUARE[0].start - 20 <= y < 10 * SQUARE[0].stop + 20
    assert 10 * SQUARE[1].start - 20 <= x < 10 * SQUARE[1].stop + 20


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (pictures.bomb(), PNG),
        (pictures.jpeg(pictures.ramp())[:400], JPEG),
        (pictures.two_in_one(), PNG),
        (pictures.png_that_claims(0, 9), PNG),
        (pictures.animated_png(), PNG),
        (encode_png(pictures.ramp()), DICOM),
        (b"", PNG),
        (bytes(11 * 1024 * 1024), PNG),
    ],
    ids=["bomb", "truncated", "polyglot", "no size", "film", "other type", "empty", "11 MiB"],
)
def test_a_hostile_image_is_refused_for_what_it_is(
    stub: DiagnoseServiceStub, content: bytes, media_type: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stub.Diagnose(request(content, media_type))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    trailing = dict(refused.value.trailing_metadata())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    fields = []
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            fields += [violation.field for violation in bad.field_violations]
    assert fields == ["image.content"]


def test_a_hundred_megabytes_are_not_even_read(stub: DiagnoseServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stub.Diagnose(request(bytes(100 * 1024 * 1024)))
    assert refused.value.code() in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INVALID_ARGUMENT,
    )


def test_measurements_are_told_that_only_images_are_served(stub: DiagnoseServiceStub) -> None:
    measured = pb.DiagnoseRequest()
    measured.measurements.values["mean radius"] = 12.0
    with pytest.raises(grpc.RpcError) as refused:
        stub.Diagnose(measured)
    assert "not served here; served: image" in refused.value.details()


def test_a_person_calls_with_a_file(images: Built, server: Gateway, tmp_path: Path) -> None:
    image, where = tmp_path / "xray.png", tmp_path / "where.png"
    image.write_bytes(images.test_rows(LINE)[1]["image"])
    done = run("gateway", "call", "diagnose", "--image", image, "--saliency", where,
               "--target", server.target, "--no-trace")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "shows where" in done.stdout
    with Image.open(where) as shown:
        assert shown.size == (28, 28)
