from __future__ import annotations

import numpy as np
import pytest
from fake_runner import recommended
from google.protobuf.timestamp_pb2 import Timestamp
from manifests import FEATURES, TIMES, manifest, timed

from gateway.domains import recommend
from gateway.domains.domain import requests_to_tensors
from gateway.domains.validation import Violations
from gateway.errors import ModelContractBroken
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.common.v1.input_note_pb2 import (
    INPUT_RULE_CLIPPED_TO_MAXIMUM,
    INPUT_RULE_IMPUTED,
    INPUT_RULE_UNKNOWN_AS_MISSING,
)
from trident.common.v1.served_by_pb2 import ServedBy
from trident.recommend.v1.recommend_service_pb2 import RecommendRequest, RecommendResponse
from triton_models.release import Manifest
from triton_models.signatures import RECOMMEND

RELEASE = manifest("recommend")
WITH_TIMES = timed(RELEASE)
WITH_CONTEXT = manifest("recommend", features=FEATURES[1:])
SERVED_BY = ServedBy(line="recommend", release="r1", variant="ensemble")


def complaints(request: RecommendRequest) -> list[str]:
    violations = Violations()
    assert recommend.check(request, violations) == "recommend"
    recommend.check_schema(request, RELEASE, violations)
    return list(violations.found)


def answered(*requests: RecommendRequest, release: Manifest = RELEASE) -> list[RecommendResponse]:
    tensors = requests_to_tensors(recommend, requests, release)
    outputs = recommended(tensors, release)
    wanted = {name: outputs[name] for name in recommend.wanted_outputs(requests)}
    return recommend.tensors_to_responses(wanted, requests, release, SERVED_BY)


def test_the_longest_request_that_is_documented_is_accepted() -> None:
    ids = ["i" * 256] * 1000
    request = RecommendRequest(
        request_id="r" * 128, user_id="u" * 256, history_item_ids=ids, item_count=100,
        candidate_item_ids=ids, excluded_item_ids=ids,
    )  # fmt: skip
    assert complaints(request) == []
    assert complaints(RecommendRequest()) == []


def test_every_field_is_checked_and_all_faults_come_at_once() -> None:
    request = RecommendRequest(
        request_id="r" * 129, user_id="u" * 257, history_item_ids=["a", ""], item_count=101,
        candidate_item_ids=["\0"], excluded_item_ids=["x"] * 1001,
        context={"device": FeatureValue(category="phone")},
        history_times=[Timestamp(seconds=-1), Timestamp(nanos=10**9)],
        request_time=Timestamp(seconds=253402300800),
    )  # fmt: skip
    assert complaints(request) == [
        "request_id", "user_id", "history_item_ids[1]", "item_count", "candidate_item_ids[0]",
        "excluded_item_ids", "history_times[0]", "history_times[1]", "request_time",
        'context["device"]',
    ]  # fmt: skip
    assert recommend.read(request, RELEASE) is None


def test_a_negative_item_count_is_refused() -> None:
    assert complaints(RecommendRequest(item_count=-1)) == ["item_count"]


def test_a_context_of_more_than_a_hundred_entries_is_refused_as_one() -> None:
    context = {f"x{place}": FeatureValue(number=1) for place in range(101)}
    assert complaints(RecommendRequest(context=context)) == ["context"]


def test_the_user_stays_on_one_release() -> None:
    assert recommend.sticky_key(RecommendRequest(user_id="u", request_id="r")) == "u"
    assert recommend.sticky_key(RecommendRequest(request_id="r")) == "r"


def test_requests_become_padded_rows() -> None:
    tensors = requests_to_tensors(
        recommend,
        [
            RecommendRequest(history_item_ids=["a", "ü"], history_allowed=True, item_count=3),
            RecommendRequest(history_item_ids=["b"], candidate_item_ids=["c"]),
        ],
        RELEASE,
    )
    assert tensors["history_item_ids"].tolist() == [[b"a", "ü".encode()], [b"b", b""]]
    assert tensors["candidate_item_ids"].tolist() == [[b""], [b"c"]]
    assert tensors["excluded_item_ids"].tolist() == [[b""], [b""]]
    assert tensors["history_allowed"].tolist() == [[True], [False]]
    assert tensors["item_count"].tolist() == [[3], [10]]


def test_the_tensors_are_those_of_the_signature() -> None:
    tensors = requests_to_tensors(recommend, [RecommendRequest()], RELEASE)
    assert {name: array.dtype for name, array in tensors.items()} == {
        spec.name: spec.dtype for spec in RECOMMEND.inputs if not spec.optional
    }
    for spec in RECOMMEND.inputs[:5]:
        assert tensors[spec.name].shape == (1, *(1 for _ in spec.axes))


def test_times_become_tensors_where_the_release_reads_them_and_are_ignored_elsewhere() -> None:
    requests = [
        RecommendRequest(
            history_item_ids=["a", "b"],
            history_times=[Timestamp(seconds=7, nanos=999_999_999), Timestamp()],
            request_time=Timestamp(seconds=253402300799),
        ),
        RecommendRequest(history_item_ids=["a", "b", "c"]),
        RecommendRequest(),
    ]
    for request in requests:
        assert complaints(request) == []
        assert recommend.read(request, WITH_TIMES) is request
    tensors = requests_to_tensors(recommend, requests, WITH_TIMES)
    assert tensors["history_times"].tolist() == [[7, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert tensors["request_time"].tolist() == [[253402300799], [0], [0]]
    specs = {spec.name: spec.dtype for spec in RECOMMEND.inputs}
    assert {tensors[one.name].dtype for one in TIMES} == {specs[one.name] for one in TIMES}
    assert requests_to_tensors(recommend, requests, RELEASE).keys() == tensors.keys() - {
        one.name for one in TIMES
    }


@pytest.mark.parametrize("count", [1, 3])
def test_times_are_as_many_as_the_items_or_none(count: int) -> None:
    request = RecommendRequest(history_item_ids=["a", "b"], history_times=[Timestamp()] * count)
    violations = Violations()
    recommend.check(request, violations)
    assert violations.found == {
        "history_times": f"must have an entry for each of history_item_ids, 2, or none, got {count}"
    }
    assert recommend.read(request, WITH_TIMES) is None


def test_a_context_becomes_tensors_where_the_release_takes_one() -> None:
    request = RecommendRequest(context={"age": FeatureValue(number=40)})
    tensors = requests_to_tensors(recommend, [request], manifest("recommend", features=FEATURES))
    assert tensors["numbers"][0, 0] == 40
    assert tensors["categories"].shape == (1, 2)


def test_a_context_is_checked_like_the_features_of_a_risk() -> None:
    violations = Violations()
    request = RecommendRequest(
        context={
            "housing": FeatureValue(category="castle"),
            "amount": FeatureValue(category="much"),
            "weather": FeatureValue(number=1),
        }
    )
    recommend.check_schema(request, WITH_CONTEXT, violations)
    assert set(violations.found) == {
        'context["housing"].category', 'context["amount"].category', 'context["weather"]',
    }  # fmt: skip
    violations = Violations()
    recommend.check_schema(RecommendRequest(), WITH_CONTEXT, violations)
    assert not violations.found


def test_what_the_ranker_did_not_see_as_it_was_sent_is_noted_for_those_who_sent_something() -> None:
    sent = RecommendRequest(
        context={"amount": FeatureValue(number=1e6), "purpose": FeatureValue(category="boat")}
    )
    with_, without = answered(sent, RecommendRequest(), release=WITH_CONTEXT)
    notes = {note.feature: note.rule for note in with_.input_notes}
    assert notes["amount"] == INPUT_RULE_CLIPPED_TO_MAXIMUM
    assert notes["purpose"] == INPUT_RULE_UNKNOWN_AS_MISSING
    assert notes["housing"] == INPUT_RULE_IMPUTED
    assert not without.input_notes
    assert "input_rules" not in recommend.wanted_outputs([RecommendRequest()])


def test_a_request_without_context_is_plain_unless_something_is_required() -> None:
    request = RecommendRequest(history_item_ids=["m1"])
    assert recommend.read(request, WITH_CONTEXT) is request
    assert recommend.read(request, manifest("recommend", features=FEATURES)) is None


def test_whether_ids_are_known_is_asked_only_where_some_were_sent() -> None:
    always = {"item_ids", "scores", "because_positions"}
    assert set(recommend.wanted_outputs([RecommendRequest()])) == always
    requests = [RecommendRequest(), RecommendRequest(excluded_item_ids=["a"])]
    assert set(recommend.wanted_outputs(requests)) == always | {"excluded_known"}


def test_items_come_best_first_with_their_reasons_and_no_padding() -> None:
    request = RecommendRequest(
        history_item_ids=["m1", "m2", "nowhere"], candidate_item_ids=["m9", "m1", "m8"]
    )
    (response,) = answered(request)
    assert [item.item_id for item in response.items] == ["m9", "m8"]
    assert response.items[0].score > response.items[1].score
    assert [list(item.because_item_ids) for item in response.items] == [["m2", "m1"]] * 2
    assert response.model == SERVED_BY


def test_each_row_of_a_batch_has_its_own_item_count() -> None:
    counts = [2, 0, 5]
    responses = answered(*(RecommendRequest(item_count=count) for count in counts))
    assert [len(response.items) for response in responses] == [2, 10, 5]


def test_unknown_ids_come_back_once_in_the_order_of_the_request() -> None:
    request = RecommendRequest(
        history_item_ids=["x", "m1", "y", "x"],
        candidate_item_ids=["z", "m5", "y"],
        excluded_item_ids=["w", "m6"],
    )
    (response, other) = answered(request, RecommendRequest(history_item_ids=["m1"]))
    assert list(response.unknown_item_ids) == ["x", "y", "z", "w"]
    assert list(other.unknown_item_ids) == []


def test_an_item_that_the_history_names_twice_is_one_reason() -> None:
    (response,) = answered(RecommendRequest(history_item_ids=["m1", "m1"], item_count=1))
    assert list(response.items[0].because_item_ids) == ["m1"]


def test_an_answer_for_another_history_breaks_the_contract() -> None:
    request = RecommendRequest(history_item_ids=["m1", "m2"])
    outputs = recommended(requests_to_tensors(recommend, [request], RELEASE), RELEASE)
    outputs["history_known"] = np.ones((1, 3), np.bool_)
    with pytest.raises(ModelContractBroken):
        recommend.tensors_to_responses(outputs, [request], RELEASE, SERVED_BY)
