"""What is read as columns, and written from templates, is what protobuf would read and write."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fake_runner import diagnosed
from hypothesis import given
from hypothesis import strategies as st
from manifests import manifest

from gateway.domains import diagnose, diagnose_columns
from gateway.domains.domain import requests_to_tensors
from gateway.domains.validation import Violations
from trident.common.v1.served_by_pb2 import ServedBy
from trident.diagnose.v1.diagnose_service_pb2 import (
    BatchDiagnoseRequest,
    BatchDiagnoseResponse,
    DiagnoseRequest,
    Image,
)
from triton_models.release import FeatureSpec, Manifest

NAMES = (*(f"measure {place}" for place in range(5)), "n" * 200)
RELEASE = manifest(
    "diagnose-measurements",
    features=tuple(FeatureSpec(name=name, kind="number") for name in NAMES),
)
SERVED_BY = ServedBy(line="diagnose-measurements", release="r1", variant="fused")

FLOATS = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1e3, 1e3)


def request(values: dict[str, float], name: str = "", *, explain: bool = False) -> DiagnoseRequest:
    made = DiagnoseRequest(request_id=name, explain=explain)
    made.measurements.values.update(values)
    return made


def batch(*requests: DiagnoseRequest) -> bytes:
    return BatchDiagnoseRequest(requests=requests).SerializeToString()


def read(data: bytes, release: Manifest = RELEASE) -> np.ndarray[tuple[int, ...], np.dtype] | None:
    tensors = diagnose_columns.read_batch(data, release)
    return None if tensors is None else tensors["numbers"]


def row(seed: int, names: tuple[str, ...] = NAMES) -> dict[str, float]:
    return {name: seed + place / 8 for place, name in enumerate(names)}


def test_rows_of_one_layout_are_read() -> None:
    numbers = read(batch(*(request(row(seed)) for seed in range(7))))
    assert numbers is not None
    np.testing.assert_array_equal(numbers, [[s + p / 8 for p in range(6)] for s in range(7)])
    assert numbers.dtype == np.float32


def test_names_of_requests_may_be_of_one_length_or_of_many() -> None:
    for names in (["a1", "a2", "a3"], ["a", "bb", ""]):
        numbers = read(batch(*(request(row(n), name) for n, name in enumerate(names))))
        assert numbers is not None
        assert numbers[:, 0].tolist() == [0, 1, 2]


def test_what_all_rows_leave_out_is_missing() -> None:
    some = NAMES[1:3]
    numbers = read(batch(*(request(row(seed, some)) for seed in range(3))))
    assert numbers is not None
    assert np.isnan(numbers[:, [0, 3, 4, 5]]).all()
    assert numbers[:, 1].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [request({})],
        [request(row(1)), request(row(2, NAMES[:3]))],
        [request(row(1)), request(row(2) | {NAMES[0]: math.nan})],
        [request(row(1) | {NAMES[0]: 1e39})],
        [request(row(1) | {NAMES[0]: -math.inf})],
        [request(row(1, (*NAMES, "unknown")))],
        [request(row(1), "x" * 129)],
        [request(row(1), "a\0b")],
        [request(row(1), "für"), request(row(1), "fur ")],
        [request(row(1), explain=True)],
        [request(row(1)), DiagnoseRequest(note="hurts")],
        [DiagnoseRequest(image=Image(content=b"x", media_type="image/png"))],
        [DiagnoseRequest()],
        [request(row(1))] * 1001,
    ],
    ids=[
        "empty", "no values", "other names", "not a number", "too large", "infinite",
        "unknown name", "long id", "NUL in an id", "not ASCII", "explain", "a note", "an image",
        "no evidence", "too many",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_the_parser(requests: list[DiagnoseRequest]) -> None:
    assert read(batch(*requests)) is None


@pytest.mark.parametrize("rule", ["missing_rule", "unknown_rule"])
def test_a_schema_that_refuses_is_left_to_the_parser(rule: str) -> None:
    strict = RELEASE.features[0].model_copy(update={rule: "refuse"})
    release = RELEASE.model_copy(update={"features": (strict, *RELEASE.features[1:])})
    release.__dict__.pop("number_places", None)
    assert read(batch(request(row(1))), release) is None


def test_a_layout_that_is_known_gives_way_to_another_of_the_same_length() -> None:
    swapped = dict(reversed(row(1, NAMES[:5]).items()))
    for values in (row(1, NAMES[:5]), swapped, row(1, NAMES[:5])):
        numbers = read(batch(request(values), request(values)))
        assert numbers is not None
        assert numbers[0].tolist()[:5] == [1, 1.125, 1.25, 1.375, 1.5]


@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_message_are_never_read_otherwise_than_parsed(data: bytes) -> None:
    numbers = read(data)
    if numbers is not None:
        parsed = BatchDiagnoseRequest.FromString(data)
        expected = requests_to_tensors(diagnose, parsed.requests, RELEASE)["numbers"]
        np.testing.assert_array_equal(numbers, expected)


@given(
    values=st.lists(st.lists(FLOATS, min_size=6, max_size=6), min_size=1, max_size=9),
    names=st.sampled_from([("", ""), ("a", "b"), ("a", "long")]),
    cut=st.integers(0, 40),
    flip=st.integers(0, 10_000),
)
def test_whatever_is_read_is_what_the_parser_reads_and_the_checks_accept(
    values: list[list[float]], names: tuple[str, str], cut: int, flip: int
) -> None:
    """Also where a byte was changed, or the end cut off, on the way."""
    requests = [
        request(dict(zip(NAMES, numbers, strict=True)), names[place % 2])
        for place, numbers in enumerate(values)
    ]
    data = bytearray(batch(*requests))
    if cut > 20:
        del data[-cut:]
    if flip < len(data):
        data[flip] ^= 1 << flip % 8
    found = read(bytes(data))
    if found is None:
        return
    parsed = BatchDiagnoseRequest.FromString(bytes(data))
    violations = Violations()
    for one in parsed.requests:
        diagnose.check(one, violations)
        diagnose.check_schema(one, RELEASE, violations)
    assert not violations.found
    expected = requests_to_tensors(diagnose, parsed.requests, RELEASE)["numbers"]
    np.testing.assert_array_equal(found, expected)


RULED = manifest("diagnose-measurements")


@given(
    radii=st.lists(st.floats(-50, 300) | st.just(math.nan), min_size=1, max_size=12),
    threshold=st.sampled_from([None, 0.5, 0.9]),
)
def test_what_is_written_is_what_protobuf_writes(
    radii: list[float], threshold: float | None
) -> None:
    """With and without notes, sure and unsure, and with probabilities that are 0."""
    release = RULED.model_copy(update={"review_threshold": threshold})
    numbers = np.full((len(radii), len(release.number_places)), 0.5, np.float32)
    numbers[:, 0] = radii
    tensors = {"numbers": numbers}
    answer = diagnosed(tensors, release)
    answer["probabilities"][answer["probabilities"] < 1e-20] = 0
    written = diagnose_columns.write_batch(answer, tensors, release, SERVED_BY)
    expected = diagnose.tensors_to_responses(
        answer, [DiagnoseRequest()] * len(radii), release, SERVED_BY
    )
    assert list(BatchDiagnoseResponse.FromString(written).responses) == expected


def test_many_labels_are_written_in_their_own_order_for_each_row() -> None:
    labels = tuple(f"label {place}" for place in range(14))
    release = RELEASE.model_copy(update={"labels": labels})
    chances = np.random.default_rng(0).dirichlet(np.ones(14), 20).astype(np.float32)
    answer = {"probabilities": chances, "input_rules": np.zeros((20, 6), np.int32)}
    tensors = {"numbers": np.zeros((20, 6), np.float32)}
    written = diagnose_columns.write_batch(answer, tensors, release, SERVED_BY)
    expected = diagnose.tensors_to_responses(answer, [DiagnoseRequest()] * 20, release, SERVED_BY)
    assert list(BatchDiagnoseResponse.FromString(written).responses) == expected
