from __future__ import annotations

import pytest

from model_builder import errors


def every(root: type[errors.BuilderError]) -> list[type[errors.BuilderError]]:
    return [root] + [each for child in root.__subclasses__() for each in every(child)]


@pytest.mark.parametrize("error", every(errors.BuilderError))
def test_every_error_has_an_exit_code_and_stands_in_the_tree(error) -> None:
    assert error.exit_code in (1, 2, 3)
    assert error.__name__ in (errors.__doc__ or "") or error.__module__ != errors.__name__


def test_a_fault_says_where_and_what() -> None:
    fault = errors.Fault("a.csv", "a number", "'x'", row=3, column="age")
    assert str(fault) == "a.csv, row 3, column 'age': expected a number, found 'x'"
    assert str(errors.Fault("a.csv", "rows", "none")) == "a.csv: expected rows, found none"


def test_shows_twenty_faults_and_counts_the_others() -> None:
    error = errors.DataFault([errors.Fault("a.csv", "a", "b", row=row) for row in range(25)])
    lines = str(error).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "… and 5 more"
    assert len(error.faults) == 25
