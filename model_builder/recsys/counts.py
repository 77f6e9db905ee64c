"""What was not as it should be in a log, how often, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LogCounts:
    """Counts of rows unless it says users or items."""

    rows: int = 0
    """In the file, without empty lines."""
    faulty: int = 0
    """Left out: a cell is missing or cannot be read."""
    ratings_negative: int = 0
    """Left out."""
    ratings_not_finite: int = 0
    """Left out."""
    ratings_missing: int = 0
    """Kept."""
    duplicates: int = 0
    """Left out: repeat another row's user, item and time."""
    out_of_order: int = 0
    """Stood after a later one of the same user; sorted."""
    repeats: int = 0
    """Of an item that the user had before, at another time; kept."""
    times_in_another_unit: int = 0
    """Kept, and read in the unit of the others."""
    context_not_finite: int = 0
    """Cells of the context's columns; they count as missing."""
    below_core: int = 0
    """Left out by ``min_user_items`` and ``min_item_users``."""
    below_core_users: int = 0
    below_core_items: int = 0
    single_item_users: int = 0
    """Users with one interaction: from them nothing is learnt but the item's popularity."""

    def said(self) -> dict[str, str]:
        """Return a sentence for each that happened, by name."""
        sentences = {
            "faulty": "rows have a cell that is missing or cannot be read and are left out",
            "ratings_negative": "rows have a negative rating and are left out",
            "ratings_not_finite": "rows have a rating that is not finite and are left out",
            "ratings_missing": "rows have no rating and are kept: ratings are not learnt from",
            "duplicates": "rows repeat another one exactly (user, item, time) and are dropped",
            "out_of_order": "rows stand after a later one of the same user and are sorted by time",
            "repeats": "rows repeat an item that the user had at another time and are kept",
            "times_in_another_unit": (
                "times seem to count another unit than most and are read like the others"
            ),
            "context_not_finite": (
                "cells of the context's columns are not finite and count as missing"
            ),
            "below_core": (
                f"rows of {self.below_core_users:,} users and {self.below_core_items:,} items with "
                "too few others (min_user_items, min_item_users) are left out"
            ),
            "single_item_users": (
                "users have a single interaction: it counts for popularity, nothing else"
            ),
        }
        counts = self.happened()
        return {
            name: f"{counts[name]:,} {what}" for name, what in sentences.items() if name in counts
        }

    def happened(self) -> dict[str, int]:
        """Return the counts that are not 0, by name."""
        return {name: count for name, count in vars(self).items() if count}
