"""Who is compared: the servers, and the ways in which each is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.serving import exchanges
from benchmarks.serving.exchanges import Exchange
from benchmarks.serving.workloads import Workload

Kind = Literal["triton", "echo", "gateway", "peer"]
Form = Literal["unary", "batch", "stream"]


@dataclass(frozen=True)
class Server:
    """A server that runs while its contenders are measured."""

    kind: Kind
    layout: str = "fused"
    transport: str = "grpc"
    workers: int = 1
    sampling: float = 0
    """The share of calls that are traced; 0: tracing is off."""
    collector_away: bool = False
    """Whether its traces go to a collector that does not answer."""
    metered: bool = False
    """Whether it counts its calls for Prometheus."""
    embedded: bool = False
    """Whether it has a Triton of its own, which then counts as part of it."""
    peer: str = ""


@dataclass(frozen=True)
class Contender:
    """A server and one way to ask it.

    Attributes:
        name: Names it in results and on the command line.
        label: Names it in tables.
        in_flight: By task, how many calls at a time it is measured with.
        open_loop: Whether it is also asked at random moments, at 70 % of its capacity.
    """

    name: str
    label: str
    server: Server
    in_flight: Mapping[str, Sequence[int]]
    form: Form = "unary"
    open_loop: bool = False

    @property
    def baseline(self) -> str:
        """The contender that this one is compared with, measured in the same round."""
        layout = "-ensemble" if self.server.layout == "ensemble" else ""
        return f"triton{layout}{'-batch' if self.form == 'batch' else ''}"

    def exchange(self, workload: Workload, *, brief: bool = False) -> Exchange:
        """Return how it is asked; ``brief``: with a short stream, for checking beside a load."""
        layout = self.server.layout
        if self.form == "batch" and self.server.kind == "gateway":
            return exchanges.trident_batch(workload, layout)
        if self.form == "stream":
            count = 64 if brief else exchanges.STREAM_ELEMENTS
            return exchanges.trident_stream(workload, layout, count)
        if self.server.kind == "gateway":
            return exchanges.trident_unary(workload, layout)
        if self.server.kind == "echo":
            return exchanges.echo(workload, layout)
        rows = exchanges.BATCH_ROWS if self.form == "batch" else 1
        if self.server.kind == "triton":
            return exchanges.oip(workload, workload.manifest.model_of(layout), rows)
        return PEERS[self.server.peer].exchange(workload)


@dataclass(frozen=True)
class Peer:
    """Another way to serve a model from Python."""

    label: str
    exchange: Callable[[Workload], Exchange]
    protocol: str


def _oip(workload: Workload) -> Exchange:
    return exchanges.oip(workload, "model")


PEERS = {
    "mlserver": Peer("MLServer", _oip, "gRPC"),
    "kserve": Peer("KServe Python", _oip, "gRPC"),
    "ray-serve": Peer("Ray Serve", _oip, "gRPC"),
    "litserve": Peer(
        "LitServe", lambda workload: exchanges.http_json(workload, "/predict"), "HTTP, JSON"
    ),
    "bentoml": Peer(
        "BentoML",
        lambda workload: exchanges.http_json(workload, "/predict", listed=True),
        "HTTP, JSON",
    ),
}

_ALL = (1, 16, 64)
_EVERYWHERE = {"diagnose": _ALL, "recommend": _ALL}
_MANY = {"diagnose": (16, 64), "recommend": (64,)}
_ENDS = {"diagnose": (1, 64), "recommend": (1, 64)}
_BATCHES = {"diagnose": (4,)}
_ONE_STREAM = {"diagnose": (1,), "recommend": (1,)}
TRANSPORTS = {"grpc": "grpc.aio", "envoy": "Envoy"}


def contenders() -> list[Contender]:
    """Return everybody, whether it can run here or not."""
    return [*_triton(), *_echoes(), *_gateways(), *_peers()]


def exactly(names: Iterable[str]) -> list[Contender]:
    """Return those of these names, without their open loops.

    Raises:
        LookupError: If there is none of a name.
    """
    known = {one.name: one for one in contenders()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise LookupError(f"no contender {', '.join(unknown)}; there are {', '.join(known)}")
    return [replace(known[name], open_loop=False) for name in names]


def _triton() -> list[Contender]:
    fused, ensemble = Server("triton"), Server("triton", layout="ensemble")
    return [
        Contender("triton", "Triton, fused", fused, _EVERYWHERE, open_loop=True),
        Contender("triton-ensemble", "Triton, ensemble", ensemble, _EVERYWHERE),
        Contender("triton-batch", "Triton, fused, 256 rows a call", fused, _BATCHES, "batch"),
    ]


def _echoes() -> list[Contender]:
    return [
        Contender(
            f"echo-{transport}", f"echo on {label}", Server("echo", transport=transport),
            {"diagnose": _ALL, "recommend": (64,)},
        )
        for transport, label in TRANSPORTS.items()
    ]  # fmt: skip


def _gateways() -> list[Contender]:
    made = []
    for transport, label in TRANSPORTS.items():
        name, label = f"gateway-{transport}", f"Trident on {label}"
        plain = Server("gateway", transport=transport)
        ensemble = Server("gateway", layout="ensemble", transport=transport)
        two = Server("gateway", transport=transport, workers=2)
        made += [
            Contender(name, f"{label}, fused", plain, _EVERYWHERE, open_loop=True),
            Contender(f"{name}-ensemble", f"{label}, ensemble", ensemble, _ENDS),
            Contender(f"{name}-2-workers", f"{label}, fused, 2 workers", two, _MANY),
            Contender(f"{name}-stream", f"{label}, fused, stream", plain, _ONE_STREAM, "stream"),
            Contender(f"{name}-batch", f"{label}, fused, batch", plain, _BATCHES, "batch"),
        ]
        made += [
            Contender(
                f"{name}-traced-{share:.0%}".rstrip("%"), f"{label}, fused, {share:.0%} traced",
                Server("gateway", transport=transport, sampling=share), {"diagnose": (64,)},
            )
            for share in (0.1, 1.0)
        ]  # fmt: skip
        made += [
            Contender(
                f"{name}-embedded{'-traced-100' if share else ''}",
                f"{label}, embedded, fused{', 100% traced' if share else ''}",
                Server("gateway", transport=transport, sampling=share, embedded=True),
                {"diagnose": (64,)},
            )
            for share in (0.0, 1.0)
        ]
        metered = Server("gateway", transport=transport, metered=True)
        away = Server("gateway", transport=transport, sampling=0.1, collector_away=True)
        made += [
            Contender(f"{name}-metered", f"{label}, fused, metrics", metered, {"diagnose": (64,)}),
            Contender(
                f"{name}-no-collector", f"{label}, fused, 10% traced, collector away", away,
                {"diagnose": (64,)},
            ),
        ]  # fmt: skip
    return made


def _peers() -> list[Contender]:
    return [
        Contender(name, f"{peer.label} ({peer.protocol})", Server("peer", peer=name), _EVERYWHERE)
        for name, peer in PEERS.items()
    ]
