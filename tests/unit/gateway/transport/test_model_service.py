from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fake_runner import FakeCall, FakeRunner, route
from manifests import CATALOGUE, FEATURES, LABELS, manifest, timed

from gateway.errors import InvalidRequest, ModelNotFound, QuotaExceeded
from gateway.settings_limits import ClientLimit
from gateway.transport.entrance import Entrance
from gateway.transport.model_service import ModelServicer
from trident.model.v1 import model_service_pb2 as pb
from triton_models.release import FeatureSpec

CALL = FakeCall()


@pytest.fixture
def servicer(runner: FakeRunner) -> ModelServicer:
    """The service of a runner with a second release of risk, and one that cannot be read."""
    runner.states += [
        replace(route(manifest("score-risk", "r2"), serving=False, detail="not loaded"), weight=0.1)
    ]
    runner.states += [
        replace(route(manifest("recommend", "r0"), serving=False, detail="gone"), served=None)
    ]
    return ModelServicer(runner)


async def get(servicer: ModelServicer, **fields: str) -> pb.Model:
    return (await servicer.GetModel(pb.GetModelRequest(**fields), CALL)).model


async def test_all_routed_releases_are_listed_by_domain_line_and_weight(
    servicer: ModelServicer,
) -> None:
    response = await servicer.ListModels(pb.ListModelsRequest(), CALL)
    assert [(model.domain, model.line, model.release) for model in response.models] == [
        ("diagnose", "diagnose-measurements", "r1"),
        ("recommend", "recommend", "r1"),
        ("recommend", "recommend", "r0"),
        ("risk", "score-risk", "r1"),
        ("risk", "score-risk", "r2"),
    ]
    assert not any(model.features for model in response.models)
    away = response.models[4]
    assert (away.serving, away.serving_detail, away.weight) == (False, "not loaded", 0.1)


async def test_one_domain_can_be_listed(servicer: ModelServicer) -> None:
    response = await servicer.ListModels(pb.ListModelsRequest(domain="risk"), CALL)
    assert [model.release for model in response.models] == ["r1", "r2"]


async def test_a_release_whose_manifest_cannot_be_read_is_listed_with_its_reason(
    servicer: ModelServicer,
) -> None:
    model = await get(servicer, domain="recommend", release="r0")
    assert (model.serving, model.serving_detail, model.variant) == (False, "gone", "")


async def test_a_model_says_all_that_a_client_needs(servicer: ModelServicer) -> None:
    model = await get(servicer, domain="risk")
    assert (model.line, model.release, model.variant) == ("score-risk", "r1", "ensemble")
    assert model.serving
    assert model.weight == 1.0
    assert model.data_set == "german-credit"
    assert model.create_time.ToDatetime(UTC) == datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
    (metric,) = model.metrics
    assert (metric.split, metric.name, metric.value, metric.low, metric.high) == (
        "test", "auc", 0.8, 0.7, 0.9,
    )  # fmt: skip
    assert [(band.name, band.minimum_score) for band in model.bands] == [
        ("A", 700), ("B", 500), ("C", 300),
    ]  # fmt: skip
    assert [feature.name for feature in model.features] == [spec.name for spec in FEATURES]


async def test_every_rule_and_kind_of_a_feature_has_a_name_in_the_api(
    servicer: ModelServicer,
) -> None:
    age, housing, _, status, _ = (await get(servicer, domain="risk")).features
    assert (age.kind, age.unit, age.description) == (pb.FEATURE_KIND_NUMBER, "years", "Age")
    assert (age.minimum, age.maximum) == (18, 90)
    assert age.missing_rule == pb.FEATURE_RULE_REFUSE
    assert age.unknown_rule == pb.FEATURE_RULE_CLIP
    assert housing.kind == pb.FEATURE_KIND_CATEGORY
    assert not housing.HasField("minimum")
    assert list(housing.categories) == ["own", "rent", "free"]
    assert housing.missing_rule == pb.FEATURE_RULE_IMPUTE
    assert housing.unknown_rule == pb.FEATURE_RULE_REFUSE
    assert list(status.codes) == [1, 2, 3]


async def test_labels_and_items_are_told_where_there_are_some(servicer: ModelServicer) -> None:
    assert list((await get(servicer, domain="diagnose")).labels) == list(LABELS)
    assert (await get(servicer, domain="recommend")).item_count == len(CATALOGUE)


async def test_whether_times_are_read_is_told(servicer: ModelServicer, runner: FakeRunner) -> None:
    assert not (await get(servicer, domain="recommend")).reads_times
    runner.states = [route(timed(manifest("recommend")))]
    assert (await get(servicer, domain="recommend")).reads_times


async def test_a_release_can_be_named(servicer: ModelServicer) -> None:
    model = await get(servicer, domain="risk", release="r2", line="score-risk")
    assert model.release == "r2"


@pytest.mark.parametrize(
    "fields",
    [
        {"domain": "risk", "release": "r9"},
        {"domain": "diagnose", "line": "diagnose-image"},
    ],
)
async def test_what_is_not_routed_is_not_found(
    servicer: ModelServicer, fields: dict[str, str]
) -> None:
    with pytest.raises(ModelNotFound):
        await get(servicer, **fields)


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, ["domain"]),
        ({"domain": "weather"}, ["domain"]),
        ({"domain": "risk", "line": "recommend"}, ["line"]),
        ({"domain": "risk", "release": "r" * 65}, ["release"]),
        ({"domain": "x", "line": "y", "release": "\0"}, ["domain", "release", "line"]),
    ],
)
async def test_every_fault_of_a_request_is_named(
    servicer: ModelServicer, fields: dict[str, str], paths: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await get(servicer, **fields)
    assert list(raised.value.violations) == paths


async def test_an_unknown_domain_cannot_be_listed(servicer: ModelServicer) -> None:
    with pytest.raises(InvalidRequest, match="domain: must be one of recommend, diagnose, risk"):
        await servicer.ListModels(pb.ListModelsRequest(domain="weather"), CALL)


def test_every_rule_of_a_manifest_is_known_to_the_api() -> None:
    rules = {
        rule
        for field in ("missing_rule", "unknown_rule")
        for rule in FeatureSpec.model_fields[field].annotation.__args__  # type: ignore[union-attr]
    }
    api = {name.removeprefix("FEATURE_RULE_").lower() for name in pb.FeatureRule.keys()}  # noqa: SIM118
    assert rules == api - {"unspecified"}


async def test_calls_count_with_the_others_of_their_client(runner: FakeRunner) -> None:
    servicer = ModelServicer(runner, Entrance(ClientLimit(rate=0.001, burst=2)))
    await servicer.ListModels(pb.ListModelsRequest(), CALL)
    await get(servicer, domain="risk")
    for ask in (servicer.ListModels(pb.ListModelsRequest(), CALL), get(servicer, domain="risk")):
        with pytest.raises(QuotaExceeded):
            await ask
