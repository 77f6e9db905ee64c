"""Settings of how a log is read and split."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from model_builder.task import TaskConfig


class LogConfig(TaskConfig):
    """What is left out of a log, and what of it is asked; ``docs/recommend.md`` says why."""

    min_user_items: int = Field(1, ge=1)
    """Different items that a user must have had; who has fewer is left out."""
    min_item_users: int = Field(1, ge=1)
    """Users who must have had an item; what fewer had is left out."""
    split: Literal["leave_one_out", "time"] = "leave_one_out"
    """What tests: each user's last item, or what came after a moment."""
    test_share: float = Field(0.1, gt=0, lt=0.5)
    """Of ``split=time``: the share of all interactions from that moment on; as many before
    validate."""
    asked_users: int = Field(20_000, ge=1)
    """Users that the validation and the test ask for; of more, as many are drawn."""
    max_faulty_share: float = Field(0.0, ge=0, lt=1)
    """Share of rows with a cell that is missing or cannot be read that are left out instead of
    refused."""
