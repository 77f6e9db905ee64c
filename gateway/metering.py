"""The metrics of a gateway, in its supervisor: of its workers, of Triton, of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.security.tls import ClientTls
from gateway.settings import DNS
from gateway.starting import StartFailed
from gateway.supervising.workers import Workers
from gateway.telemetry.metrics.building import GatewayMetrics
from gateway.telemetry.metrics.endpoint import Probe
from gateway.telemetry.metrics.instruments import DROPPED_SPANS, RESTARTS
from gateway.telemetry.metrics.readings import Reading
from gateway.telemetry.tracing import Tracing
from gateway.triton.named_statistics import NamedStatistics
from gateway.triton.statistics import TritonStatistics


def listen_for_metrics(
    folder: Path, listen: str | None, probes: Mapping[str, Probe] | None = None
) -> GatewayMetrics:
    """Return what will gather, show and send metrics.

    Args:
        folder: Where workers find it.
        listen: Where to show them, if anywhere.
        probes: By path, what is shown beside them.

    Raises:
        StartFailed: If the address cannot be had.
        UnknownCollector: If the collector's cannot be understood.
    """
    try:
        return GatewayMetrics(folder, listen, probes=probes)
    except OSError as error:
        reason = error.strerror or error
        raise StartFailed(f"cannot show metrics at {listen}: {reason}") from error


def count_dropped(metrics: GatewayMetrics, tracing: Tracing) -> None:
    """Count the spans that the supervisor itself, which takes those of Triton, has to drop."""
    metrics.hub.gauges(lambda: (Reading(DROPPED_SPANS, (), tracing.dropped_spans),))


def gather(
    metrics: GatewayMetrics,
    workers: Workers,
    targets: Sequence[str],
    *,
    embedded: bool,
    tls: ClientTls | None = None,
) -> None:
    """Gather from the workers, which are yet to start, and from each Triton.

    Args:
        metrics: Shows and sends them.
        workers: Says how often each was started again.
        targets: The Tritons, or names of several.
        embedded: Whether there is one, and it is this gateway's own.
        tls: How TLS is spoken with them; ``None``: plain text.
    """
    for target in targets:
        statistics: NamedStatistics | TritonStatistics
        if target.startswith(DNS):
            statistics = NamedStatistics(target, tls)
        else:
            name = "embedded" if embedded else target
            statistics = TritonStatistics(name, target, fresh=embedded, tls=tls)
        metrics.hub.add_source(statistics.take, statistics.close)

    def restarts() -> Iterator[Reading]:
        for number, count in list(workers.restarts.items()):
            yield Reading(RESTARTS, (str(number),), count)

    metrics.hub.gauges(restarts)
    metrics.start()
