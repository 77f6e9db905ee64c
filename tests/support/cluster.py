"""The pods of the chart as processes of this machine."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from pathlib import Path

from containers import STORE, Container, free_ports
from rendered import Rendered, environment, gateway_container

TRITONS = 3
"""Pods that the chart was told of; one of them runs."""

GRPC, METRICS = 50051, 9464


@dataclass
class Cluster:
    """The pods of the default values as processes: one Triton, one gateway that is ready."""

    rendered: Rendered
    folder: Path
    triton: Container
    gateway: Container

    def new_gateway(self, name: str, rendered: Rendered | None = None, **mounted: str) -> Container:
        """A gateway that is not started, beside the others.

        Args:
            name: Of its folder.
            rendered: Where it is from; by default the cluster's own.
            mounted: What stands for each folder below ``/trident``.
        """
        rendered = rendered or self.rendered
        grpc_port, metrics = free_ports(2)
        triton = self.triton.places["port=8001"].partition("=")[2]
        spec = gateway_container(rendered)
        first, *away = str(environment(spec)["TRIDENT_TRITON"]).split(",")
        places = {
            STORE: self.triton.places[STORE],
            f"0.0.0.0:{GRPC}": f"127.0.0.1:{grpc_port}",
            f":{GRPC}": f":{grpc_port}",
            f"0.0.0.0:{METRICS}": f"127.0.0.1:{metrics}",
            # Only the first of all Tritons runs, as after scaling down.
            **{target: f"127.0.0.{2 + number}:9" for number, target in enumerate(away)},
            first: f"127.0.0.1:{triton}",
            f"port={METRICS}": f"port={metrics}",
            **{f"/trident/{folder}": place for folder, place in mounted.items()},
        }
        return Container(spec, self.folder / name, places)

    def scrape(self, container: Container, path: str = "/metrics") -> str:
        """What Prometheus reads of a container."""
        own = container.places.get(f"0.0.0.0:{METRICS}") or container.places["port=8002"]
        port = own.replace("=", ":").rpartition(":")[2]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read().decode())
