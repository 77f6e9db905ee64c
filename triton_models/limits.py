"""Limits that the API and Triton share; importing them costs nothing."""

from __future__ import annotations

MAX_BATCH_ROWS = 1000
"""Rows in one call: the API's limit of a ``Batch…`` request and Triton's ``max_batch_size``."""

MAX_IDS = 1000
"""Items of one list in a request: of a history, of candidates, of what is excluded."""

MOMENTS_END_S = 253_402_300_800
"""Seconds since 1970: the year 10000, from which on a ``Timestamp`` is none."""
