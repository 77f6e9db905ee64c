"""One of three Tritons is hurt under load: it is found, left out, and taken back."""

from __future__ import annotations

import pytest
from served import Gateway
from three_tritons import FAULTS, Tritons, hold, play

pytestmark = pytest.mark.chaos

SECONDS = 8.0


@pytest.mark.parametrize("name", list(FAULTS))
def test_clients_hardly_notice(
    name: str,
    gateway: Gateway,
    tritons: Tritons,
    transport: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome = play(gateway, tritons, FAULTS[name], SECONDS)
    with capsys.disabled():
        print(f"\n{transport}, one of three {name}: {outcome}")
    hold(outcome)
