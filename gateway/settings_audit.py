"""The settings that say what is written down of calls: docs/security.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode


class AuditSettings(BaseSettings):
    """What is written down of calls."""

    access_log: str | None = None
    """Where a line of JSON is written for each call: a file, or ``-`` for standard output."""

    payload_log: Path | None = None
    """A folder for requests and their answers, as Parquet files; needs ``trident[payloads]``."""

    payload_log_ratio: float = Field(default=0.01, ge=0, le=1)
    """The share of the calls that are written there, in [0, 1]."""

    payload_log_redact: Annotated[tuple[str, ...], NoDecode] = ()
    """Fields that are never written there: paths in which ``*`` stands for anything, such as
    ``features.age``, ``note`` or ``image.*``; in the environment with commas."""

    payload_log_file_rows: int = Field(default=10_000, ge=1, le=1_000_000)
    """Rows of one file, at most."""

    payload_log_files: int = Field(default=100, ge=1)
    """Files that are kept for each line and worker; the oldest go."""

    @field_validator("access_log", "payload_log", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("payload_log_redact", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
