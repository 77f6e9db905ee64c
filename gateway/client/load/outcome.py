"""What came of a load: latencies in HDR histograms, errors, and how late the client itself was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram

_HIGHEST_US = 3_600_000_000
_DIGITS = 3
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9, 100.0)


def new_histogram() -> Any:
    """Return an empty histogram: 1 µs to an hour, three digits."""
    return HdrHistogram(1, _HIGHEST_US, _DIGITS)


@dataclass
class Outcome:
    """What was sent and what came back.

    Attributes:
        latency: From when a request was due until its answer was there, in µs; answers only.
        service: From when it was sent.
        lag: From when it was due until it was sent: how late the client was.
        errors: By status.
        sent: Requests.
        unsent: Requests that were due and not sent, because too many had no answer yet.
        seconds: How long the load lasted.
    """

    latency: Any = field(default_factory=new_histogram)
    service: Any = field(default_factory=new_histogram)
    lag: Any = field(default_factory=new_histogram)
    errors: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    unsent: int = 0
    seconds: float = 0.0

    def note(self, due: float, sent: float, answered: float, error: str = "") -> None:
        """Note one call; times in seconds by the same clock."""
        self.sent += 1
        self.lag.record_value(_micros(sent - due))
        if error:
            self.errors[error] += 1
            return
        self.latency.record_value(_micros(answered - due))
        self.service.record_value(_micros(answered - sent))

    @property
    def answered(self) -> int:
        """Calls that were answered without an error."""
        return int(self.latency.get_total_count())

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return everything for programs; latencies in ms."""
        return {
            "sent": self.sent,
            "answered": self.answered,
            "unsent": self.unsent,
            "errors": dict(self.errors),
            "seconds": self.seconds,
            "rate": self.rate,
            "latency_ms": milliseconds(self.latency),
            "service_ms": milliseconds(self.service),
            "client_lag_ms": milliseconds(self.lag),
        }


def milliseconds(histogram: Any) -> Mapping[str, float]:
    """Return the percentiles and the mean of a histogram of µs, in ms; none of an empty one."""
    if not histogram.get_total_count():
        return {}
    values = {
        f"p{percent:g}": histogram.get_value_at_percentile(percent) / 1000
        for percent in PERCENTILES
    }
    return {"mean": histogram.get_mean_value() / 1000, **values}


def _micros(seconds: float) -> int:
    return min(max(1, round(1e6 * seconds)), _HIGHEST_US)
