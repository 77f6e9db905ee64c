"""Why a call is refused before it costs anything: one word for each reason."""

from __future__ import annotations

from typing import Literal

Reason = Literal["full", "overload", "deadline", "displaced", "rate", "quota", "concurrency"]

FULL: Reason = "full"
"""As many wait as may."""
OVERLOAD: Reason = "overload"
"""The queue does not get shorter: more comes than is answered."""
DEADLINE: Reason = "deadline"
"""What is left of its time is less than its turn and its answer take."""
DISPLACED: Reason = "displaced"
"""One with a higher priority has taken its place."""
RATE: Reason = "rate"
QUOTA: Reason = "quota"
CONCURRENCY: Reason = "concurrency"
