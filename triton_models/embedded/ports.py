"""Ports that stay ours while Triton is down."""

from __future__ import annotations

import socket
from types import TracebackType

from triton_models.embedded.command import HOST, Ports


class ReservedPorts:
    """Three free ports, held by sockets that are bound but do not listen.

    Triton binds the same ports beside them (``SO_REUSEPORT``); until it does, a
    connection is refused and no other program is given the port. Only its
    metrics know no sharing: that port is free until Triton takes it.
    """

    def __init__(self) -> None:
        grpc, http, metrics = (_bound_socket() for _ in range(3))
        self.ports = Ports(
            grpc=grpc.getsockname()[1],
            http=http.getsockname()[1],
            metrics=metrics.getsockname()[1],
        )
        metrics.close()
        self._sockets = (grpc, http)

    def release(self) -> None:
        """Give the ports back."""
        for held in self._sockets:
            held.close()

    def __enter__(self) -> ReservedPorts:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _bound_socket() -> socket.socket:
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((HOST, 0))
    return held
