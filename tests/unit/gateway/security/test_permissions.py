from __future__ import annotations

from pathlib import Path

import pytest

from gateway.security.errors import UnusableFile
from gateway.security.permissions import Grants, read_grants
from gateway.transport.api import SERVICES, api_methods

METHODS = api_methods()
RISK = {f"trident.risk.v1.RiskService/{name}ScoreRisk" for name in ("", "Batch", "Stream")}


@pytest.mark.parametrize(
    ("pattern", "methods"),
    [
        ("*", set(METHODS.names)),
        ("risk", RISK),
        ("risk/*", RISK),
        ("risk/ScoreRisk", {"trident.risk.v1.RiskService/ScoreRisk"}),
        ("risk/Batch*", {"trident.risk.v1.RiskService/BatchScoreRisk"}),
        (
            "trident.risk.v1.RiskService/ScoreRisk",
            {"trident.risk.v1.RiskService/ScoreRisk"},
        ),
        ("model/GetModel", {"trident.model.v1.ModelService/GetModel"}),
        ("", set()),
        ("/", set()),
        ("Risk", set()),
        ("ris", set()),
        ("r*", set()),
        ("risk/scorerisk", set()),
        ("risk/ScoreRisk/x", set()),
        ("trident.risk.v1.RiskService", set()),
    ],
)
def test_a_pattern_means_a_domain_or_methods(pattern: str, methods: set[str]) -> None:
    assert METHODS.permitted([pattern]) == methods
    assert METHODS.unknown([pattern]) == ([] if methods else [pattern])


def test_several_patterns_add_up_and_none_permits_nothing() -> None:
    assert METHODS.permitted(["risk/ScoreRisk", "risk/Batch*", "risk/Stream*"]) == RISK
    assert METHODS.permitted([]) == set()


def test_every_method_of_the_api_can_be_permitted_by_its_domain() -> None:
    assert METHODS.domains == ["diagnose", "model", "recommend", "risk"]
    assert METHODS.permitted(METHODS.domains) == set(METHODS.names)
    assert len(METHODS.names) == sum(len(service.methods) for service in SERVICES)


def test_a_file_grants_by_who_the_client_is(tmp_path: Path) -> None:
    path = tmp_path / "permissions.yaml"
    path.write_text("clients:\n  certificate:spiffe://test/*: [risk]\n  'token:*': ['*']\n")
    grants = read_grants(path, METHODS)
    assert grants.of("certificate:spiffe://test/a") == ["risk"]
    assert grants.of("certificate:a") == []
    assert grants.of("token:a") == ["*"]
    assert Grants().of("token:a") == []


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("clients: {a: [nothing]}", "clients.a"),
        ("clients: {a: risk}", "clients.a"),
        ("client: {}", "client"),
        ("[", ""),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, field: str) -> None:
    path = tmp_path / "permissions.yaml"
    path.write_text(text)
    with pytest.raises(UnusableFile) as refused:
        read_grants(path, METHODS)
    assert refused.value.violations.keys() == {field}
