from __future__ import annotations

import math
from bisect import bisect_left
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.telemetry.metrics.grid import SCALE, SECONDS, SIZES, TOTALS, Grid

seconds = (
    st.floats(0, 2.0**17)
    | st.sampled_from(SECONDS.explicit)
    | st.integers(0, 10**13).map(lambda ns: ns / 1e9)
)


def counted(grid: Grid, values: list[float]) -> np.ndarray:
    return np.bincount(grid.bins(np.array(values)), minlength=len(grid))


def slow_index(value: float) -> int:
    """The bucket of a value, found without floating point: (2^(i/8), 2^((i+1)/8)]."""
    power = Fraction(value) ** (2**SCALE)
    index = math.floor(math.log2(value) * 2**SCALE) - 2
    while power > Fraction(2) ** (index + 1):
        index += 1
    return index


@settings(deadline=None)
@given(st.lists(seconds, max_size=50))
def test_explicit_buckets_hold_what_is_up_to_their_bound(values: list[float]) -> None:
    expected = [0] * (len(SECONDS.explicit) + 1)
    for value in values:
        expected[bisect_left(SECONDS.explicit, value)] += 1

    assert SECONDS.explicit_counts(counted(SECONDS, values)).tolist() == expected


@settings(deadline=None)
@given(st.lists(seconds, max_size=20))
def test_exponential_buckets_are_those_of_a_slow_reference(values: list[float]) -> None:
    found = SECONDS.exponential(counted(SECONDS, values))

    expected: dict[int, int] = {}
    zeros = 0
    for value in values:
        if value <= SECONDS.zero_threshold:
            zeros += 1
        elif not near_a_bound(value):
            index = slow_index(value)
            expected[index] = expected.get(index, 0) + 1
    seen = {found.first + place: count for place, count in enumerate(found.counts.tolist())}
    assert found.zero_count == zeros
    assert sum(seen.values()) + zeros == len(values)
    for index, count in expected.items():
        assert seen[index] >= count
    assert found.counts.size == 0 or (found.counts[0] and found.counts[-1])


def near_a_bound(value: float) -> bool:
    """Whether only the last bit decides: bounds that are no powers of two are rounded."""
    place = math.log2(value) * 2**SCALE
    return place % (2**SCALE) != 0 and abs(place - round(place)) < 1e-9


@pytest.mark.parametrize("power", [-19, -3, 0, 1, 16])
def test_a_power_of_two_belongs_to_the_bucket_that_it_bounds(power: int) -> None:
    at = SECONDS.exponential(counted(SECONDS, [2.0**power]))
    above = SECONDS.exponential(counted(SECONDS, [np.nextafter(2.0**power, np.inf)]))

    assert at.first == power * 2**SCALE - 1
    assert above.first == power * 2**SCALE


def test_what_is_too_long_counts_into_the_last_bucket() -> None:
    found = SECONDS.exponential(counted(SECONDS, [2.0**17, 1e9]))

    assert (found.first, found.counts.tolist()) == (17 * 8 - 1, [2])


def test_sizes_are_in_the_bucket_that_is_named_after_them() -> None:
    counts = SIZES.explicit_counts(counted(SIZES, [1, 2, 3, 64, 1000, 1001]))

    assert dict(zip((*SIZES.explicit, None), counts.tolist(), strict=True)) == {
        1: 1, 2: 1, 4: 1, 8: 0, 16: 0, 32: 0, 64: 1, 128: 0, 256: 0, 512: 0, 1000: 1, None: 1,
    }  # fmt: skip


def test_a_total_has_one_bucket() -> None:
    assert TOTALS.explicit_counts(counted(TOTALS, [0.5, 7])).tolist() == [2]
