"""Those who wait for one place after another: the higher class first, its clients in turns."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

from gateway.inference.priority import RANKS, Turn

T = TypeVar("T")


class Turns(Generic[T]):
    """Whoever waits, by class and client."""

    def __init__(self) -> None:
        self._classes: dict[int, OrderedDict[str, deque[T]]] = {
            rank: OrderedDict() for rank in sorted(RANKS.values())
        }
        self._counts = dict.fromkeys(self._classes, 0)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def add(self, turn: Turn, one: T) -> None:
        """Let one more wait."""
        self._classes[turn.rank].setdefault(turn.client, deque()).append(one)
        self._counts[turn.rank] += 1

    def take(self) -> T:
        """Take whoever is next.

        Raises:
            IndexError: If nobody waits.
        """
        for rank, clients in self._classes.items():
            if clients:
                client, waiting = next(iter(clients.items()))
                one = waiting.popleft()
                clients.move_to_end(client)  # the others of its class come first now
                self._left(rank, client)
                return one
        raise IndexError("nobody waits")

    def remove(self, turn: Turn, one: T) -> bool:
        """Let one wait no more; return whether it did."""
        waiting = self._classes[turn.rank].get(turn.client, ())
        if one not in waiting:
            return False
        self._classes[turn.rank][turn.client].remove(one)
        self._left(turn.rank, turn.client)
        return True

    def before(self, rank: int) -> int:
        """Return how many would be let in before one more of a class, at most."""
        return sum(count for other, count in self._counts.items() if other <= rank)

    def take_last_below(self, rank: int) -> T | None:
        """Take the newest of the client of whom most wait, in the lowest class below ``rank``."""
        lowest = max((one for one, count in self._counts.items() if count), default=rank)
        if lowest <= rank:
            return None
        clients = self._classes[lowest]
        client = max(clients, key=lambda name: len(clients[name]))
        one = clients[client].pop()
        self._left(lowest, client)
        return one

    def _left(self, rank: int, client: str) -> None:
        self._counts[rank] -= 1
        if not self._classes[rank][client]:
            del self._classes[rank][client]
