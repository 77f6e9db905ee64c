"""Memory is compared between when it was warm and the end."""

from __future__ import annotations

from benchmarks.serving.soak import Soak


def test_growth_is_counted_from_when_all_was_made_that_is_made_once() -> None:
    seen = Soak("gateway-grpc", [(25_000, 80.0), (50_000, 95.0), (75_000, 97.0), (100_000, 96.0)])
    found = seen.to_json()
    assert (found["warm_mb"], found["last_mb"], found["most_mb"]) == (95.0, 96.0, 97.0)
    assert found["requests"] == 100_000


def test_a_short_run_has_not_grown() -> None:
    found = Soak("gateway-grpc", [(10, 80.0)]).to_json()
    assert found["warm_mb"] == found["last_mb"] == 80.0
