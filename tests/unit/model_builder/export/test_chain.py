"""What goes into the steps of a release, and what comes out, without a Triton."""

from __future__ import annotations

import numpy as np
import tiny_releases as tiny

from model_builder.export.chain import StepChain, given_to_cores

ROWS = {"numbers": np.array([[2.0, 3.0], [2.0, -1.0]], np.float32)}


def test_each_step_is_given_its_inputs_and_what_those_before_it_made() -> None:
    chain = StepChain(tiny.diagnoser().steps)
    given, made = chain.given(ROWS), chain.run(ROWS)
    assert list(given) == ["work", "answer"]
    assert given["work"].keys() == {"numbers"}
    np.testing.assert_array_equal(given["answer"]["logit"], made["logit"])
    np.testing.assert_allclose(made["logit"], [[3.0], [-1.0]])


def test_of_the_cores_only_networks_are_told() -> None:
    given = given_to_cores(tiny.diagnoser().steps, ROWS)
    assert given.keys() == {"work"}
    assert given["work"]["numbers"] is ROWS["numbers"]
