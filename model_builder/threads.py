"""How threads that have nothing to do wait."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_SPINS = "1000"
_DECIDED = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def let_waiting_threads_sleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have OpenMP's threads give up their core soon after they run out of work.

    Our networks are small, so a training is thousands of short parallel parts a second. By
    default a thread that waits for the next one spins for milliseconds, which costs nothing alone
    and takes the core from whoever works where two trainings share a machine
    (``benchmarks/training_in_company.py``). What the user has set stays.

    Call it before torch is imported: libgomp reads the environment when it is loaded.
    """
    if not any(name in environment for name in _DECIDED):
        environment["GOMP_SPINCOUNT"] = _SPINS
