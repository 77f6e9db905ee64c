from __future__ import annotations

import pytest

from gateway.client.text import number, percent, plain


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0 %"), (1, "100.0 %"), (0.9731, "97.3 %"), (0.004567, "0.46 %"), (0.00001, "0.001 %")],
)
def test_probabilities_are_percentages(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(17, "17"), (0.26541, "0.26541"), (1001.0, "1001"), (-2.5, "-2.5")]
)
def test_numbers_have_no_needless_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_nothing_from_elsewhere_moves_the_cursor() -> None:
    assert plain("a\x1b[31mb\nc\x07 ü") == "a�[31mb�c� ü"
