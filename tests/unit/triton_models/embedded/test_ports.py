from __future__ import annotations

import socket

import pytest

from triton_models.embedded.ports import ReservedPorts


def test_three_different_ports_are_given() -> None:
    with ReservedPorts() as reserved:
        ports = reserved.ports

    assert len({ports.grpc, ports.http, ports.metrics}) == 3


def test_a_reserved_port_refuses_connections_and_other_programs() -> None:
    with ReservedPorts() as reserved:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", reserved.ports.grpc), timeout=5)
        with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
            other.bind(("127.0.0.1", reserved.ports.grpc))


def test_triton_can_listen_beside_the_reservation() -> None:
    with ReservedPorts() as reserved, socket.socket() as triton:
        triton.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        triton.bind(("127.0.0.1", reserved.ports.grpc))
        triton.listen()

        with socket.create_connection(("127.0.0.1", reserved.ports.grpc), timeout=5) as caller:
            accepted, address = triton.accept()
            accepted.close()
            assert address == caller.getsockname()


def test_a_released_port_is_free() -> None:
    reserved = ReservedPorts()
    reserved.release()

    with socket.socket() as other:
        other.bind(("127.0.0.1", reserved.ports.grpc))
