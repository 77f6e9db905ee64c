"""Which variant is published: the fastest that is as good as its parent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from model_builder.variants.trying import Tried

LEAST_GAIN = 1.05
"""What is not so many times as fast is not worth another release."""


def gain(tried: Tried) -> float:
    """Return how many times as fast a variant is as it is served on a CPU.

    That is the fused model; the geometric mean over the batch sizes.
    """
    ratios = [tried.faster(rows, "fused") for rows in tried.timed.fused]
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def chosen(found: Sequence[Tried]) -> Tried | None:
    """Return the fastest of those that passed all checks, if it is worth a release."""
    able = [tried for tried in found if tried.passed and gain(tried) >= LEAST_GAIN]
    return max(able, key=gain, default=None)


def front(found: Sequence[Tried], metric: str, *, lower_is_better: bool) -> set[str]:
    """Return the variants that no other one beats in speed, metric and size alike."""

    def better_in(one: Tried, other: Tried) -> list[float]:
        metrics = [each.metrics[metric].value for each in (one, other)]
        quality = metrics[1] - metrics[0] if lower_is_better else metrics[0] - metrics[1]
        return [gain(one) - gain(other), quality, other.size_bytes - one.size_bytes]

    return {
        tried.variant
        for tried in found
        if not any(
            min(better_in(other, tried)) >= 0 and max(better_in(other, tried)) > 0
            for other in found
        )
    }
