"""Which calls go first where not all can: three classes, as a client or its settings say.

Within a class, clients take turns. A call of a higher class takes the place of a waiting one of a
lower class where no more may wait. Nothing else depends on it: where there is room for all, nobody
notices.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Priority = Literal["high", "normal", "low"]

PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
RANKS: dict[str, int] = {name: rank for rank, name in enumerate(PRIORITIES)}
NORMAL = RANKS["normal"]
"""The lower, the sooner."""


class Turn(NamedTuple):
    """Whose turn it is to wait for."""

    rank: int = NORMAL
    """Of the priority."""
    client: str = ""
    """Who asks; ``""`` for several at once."""


SHARED = Turn()
"""Of those who ask together, or of whom nothing is known."""


def rank_of(asked: str | None, allowed: Priority | None) -> int:
    """Return the rank of a call.

    Args:
        asked: What its metadata say; what is no priority is ``normal``.
        allowed: The highest that its client may ask for, which is also what it gets unasked.
            ``None``: whatever it asks for.
    """
    if asked is None:
        return NORMAL if allowed is None else RANKS[allowed]
    rank = RANKS.get(asked, NORMAL)
    return rank if allowed is None else max(rank, RANKS[allowed])
