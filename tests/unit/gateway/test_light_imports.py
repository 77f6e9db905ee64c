"""What is not asked for is not even imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("jwt", "cryptography", "pyarrow", "requests")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("gateway.serving", (*HEAVY, "grpc", "numpy")),
        ("gateway.envoy_worker", (*HEAVY, "grpc", "numpy", "google.protobuf")),
        ("gateway.served", ("jwt", "cryptography", "pyarrow")),
        ("gateway.grpc_worker", ("jwt", "cryptography", "pyarrow")),
        ("gateway.cli", (*HEAVY, "grpc", "numpy", "pydantic")),
    ],
)
def test_security_that_nobody_asked_for_costs_no_memory(
    module: str, absent: tuple[str, ...]
) -> None:
    code = f"import sys, {module}\nprint([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
