"""What h2load prints and logs is understood; its load is on the moments that were asked for."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.serving import h2load
from benchmarks.serving.h2load import LoadFailed, parse, poisson_moments

OUTPUT = """\
starting benchmark...
finished in 2.00s, 2.00 req/s, 70.41KB/s
requests: 5 total, 6 started, 4 done, {succeeded} succeeded, 1 failed, 1 errored, 0 timeout
status codes: 4 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 137.83KB (141141) total, 6.14KB (6288) headers (space savings 96.11%), 37.04KB (400) data
time for request:      372us      6.52ms      1.57ms       757us    67.69%
"""
LOG = "1000000\t200\t500\n1000100\t200\t400\n1000700\t-1\t90\n"


def test_calls_bytes_and_times_of_several_runs_are_added_up() -> None:
    load = parse([OUTPUT.format(succeeded=4)] * 2, [LOG, "1000400\t200\t600\n"], 0.25)
    assert load.calls == 8
    assert load.failed == 2
    assert load.data_bytes == 800
    assert load.latencies_us == (500, 400, 600)  # in the order of their ends, without the failed
    assert load.seconds == pytest.approx(0.001)
    assert load.calls_per_s == pytest.approx(8000)
    assert load.client_cpu_s == 0.25


def test_a_status_that_is_no_success_counts_as_failed() -> None:
    assert parse([OUTPUT.format(succeeded=1)], [LOG], 0).failed == 3


@pytest.mark.parametrize(
    ("output", "log", "told"),
    [
        ("Could not resolve host\n", LOG, "Could not resolve host"),
        (OUTPUT.format(succeeded=0), "1000700\t-1\t90\n", "no call was answered"),
    ],
    ids=["it did not end well", "nobody answered"],
)
def test_a_run_without_answers_is_an_error_with_what_was_printed(
    output: str, log: str, told: str
) -> None:
    with pytest.raises(LoadFailed, match=told):
        parse([output], [log], 0)


def test_a_missing_h2load_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LoadFailed, match="nghttp2-client"):
        h2load.find()


def test_moments_are_random_in_order_and_as_many_as_the_rate_says() -> None:
    moments = poisson_moments(1000, 20, seed=3)
    assert moments == sorted(moments)
    assert moments[-1] < 20
    assert len(moments) == pytest.approx(20_000, rel=0.03)
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    early = sum(gap < 0.001 for gap in gaps) / len(gaps)
    assert early == pytest.approx(0.632, abs=0.02)  # 1 - 1/e: as chance has it, not in bunches


def test_connections_share_what_is_in_flight_evenly() -> None:
    assert all(in_flight % count == 0 for in_flight, count in h2load.CONNECTIONS.items())
