"""What is free goes back to the operating system, so that a long training does not grow."""

from __future__ import annotations

from collections.abc import Callable

from triton_models.heap import resident_bytes, trim_heap

NOTABLE_BYTES = 128 * 1024 * 1024


class FreeMemory:
    """Gives free memory back once there is notably more than after the last time.

    A training on batches of ever other shapes would end with several times what it began with,
    nearly all of it free. One that does not grow is not held up.

    Args:
        resident: Tells how much memory the process has, in bytes.
        trim: Gives back what is free.
    """

    def __init__(
        self,
        resident: Callable[[], int] = resident_bytes,
        trim: Callable[[], object] = trim_heap,
    ) -> None:
        self._resident = resident
        self._trim = trim
        self._settled = resident()

    def give_back(self) -> None:
        """Look, and give back; for the end of an epoch, not of a step."""
        if self._resident() > self._settled + NOTABLE_BYTES:
            self._trim()
            self._settled = self._resident()
