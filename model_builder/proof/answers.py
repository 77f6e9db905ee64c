"""What a release answers to its test split, as a client sees it: a file beside the release."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

ANSWERS = "answers.parquet"


def answers_to_parquet(table: pa.Table) -> bytes:
    """Return what :func:`answers_from_parquet` reads."""
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def answers_from_parquet(content: bytes) -> pa.Table:
    """Return what :func:`answers_to_parquet` wrote: a row for each question."""
    return pq.read_table(io.BytesIO(content))
