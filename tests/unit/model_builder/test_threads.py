from __future__ import annotations

import pytest

from model_builder.threads import let_waiting_threads_sleep


def test_waiting_threads_give_up_their_core_soon():
    environment: dict[str, str] = {}
    let_waiting_threads_sleep(environment)
    assert environment == {"GOMP_SPINCOUNT": "1000"}


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_what_the_user_has_set_stays(name):
    environment = {name: "x"}
    let_waiting_threads_sleep(environment)
    assert environment == {name: "x"}
