"""One of three Tritons is hurt under load: it is found, left out, and taken back."""

from __future__ import annotations

import pytest
from served import Gateway
from three_tritons import FAULTS, Tritons, hold, play

from gateway.inference.standing import SLOW_START_S

pytestmark = pytest.mark.chaos

SECONDS = 6.0


@pytest.mark.parametrize("name", list(FAULTS))
def test_clients_hardly_notice(
    name: str,
    gateway: Gateway,
    tritons: Tritons,
    transport: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = len(gateway.log)
    outcome = play(gateway, tritons, FAULTS[name], SECONDS, SLOW_START_S)
    with capsys.disabled():
        print(f"\n{transport}, one of three {name}: {outcome}")
        print("".join(line for line in gateway.log[lines:] if "WARNING" in line))
    hold(outcome)
