"""The statistics of every Triton behind a name, as those come and go."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from gateway.security.tls import ClientTls
from gateway.telemetry.metrics.readings import Gauges
from gateway.telemetry.metrics.tally import Tally
from gateway.triton.discovery import host_and_port, targets_of
from gateway.triton.statistics import TritonStatistics

_log = logging.getLogger(__name__)

_AT_A_TIME = 8

Resolve = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a name; raises ``OSError`` if it has none."""


class NamedStatistics:
    """Asks each Triton that a name stands for, and shows it by its address.

    Args:
        name: ``dns:///host:port``.
        tls: How TLS is spoken with them; ``None``: plain text.
        resolve: Looks up names.
    """

    def __init__(
        self, name: str, tls: ClientTls | None = None, resolve: Resolve | None = None
    ) -> None:
        self._host, self._port = host_and_port(name)
        self._tls = tls
        self._resolve = resolve or _look_up
        self._known: dict[str, TritonStatistics] = {}
        self._takers = ThreadPoolExecutor(_AT_A_TIME, "metrics-name")

    def take(self) -> tuple[Tally, Gauges]:
        """Return what all of them have counted since the last time; called on a thread."""
        self._look()
        tally: Tally = Tally()
        gauges: Gauges = {}
        for one, now in self._takers.map(TritonStatistics.take, list(self._known.values())):
            tally.add(one)
            gauges |= now
        return tally, gauges

    def close(self) -> None:
        """Close the connections."""
        self._takers.shutdown(wait=False)
        for statistics in self._known.values():
            statistics.close()

    def _look(self) -> None:
        """See who is there now; if the name cannot be looked up, those who were."""
        try:
            addresses = self._resolve(self._host, self._port)
        except (OSError, UnicodeError) as error:  # the workers warn of it
            _log.debug("%s cannot be looked up: %s", self._host, error)
            return
        targets = targets_of(addresses, self._port)
        for gone in self._known.keys() - set(targets):
            self._known.pop(gone).close()
        for target in targets:
            if target not in self._known:
                self._known[target] = TritonStatistics(
                    target, target, fresh=False, tls=self._tls, host=self._host
                )


def _look_up(host: str, port: int) -> Sequence[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
