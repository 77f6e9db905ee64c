from __future__ import annotations

import socket

import pytest

from gateway.starting import StartFailed
from gateway.supervising.listening import HeldAddress


def worker(address: HeldAddress, host: str = "127.0.0.1") -> socket.socket:
    """Listen as a worker does."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, address.port))
    listener.listen()
    return listener


def refused(listen: str) -> str:
    """Why an address cannot be held."""
    with pytest.raises(StartFailed) as caught:
        HeldAddress(listen)
    return str(caught.value)


def test_port_zero_becomes_a_free_port() -> None:
    with HeldAddress("127.0.0.1:0") as one, HeldAddress("127.0.0.1:0") as other:
        assert 0 < one.port != other.port > 0
        assert str(one) == f"127.0.0.1:{one.port}"


def test_workers_listen_side_by_side() -> None:
    with HeldAddress("127.0.0.1:0") as held, worker(held), worker(held):
        socket.create_connection(("127.0.0.1", held.port), timeout=20).close()


def test_while_no_worker_listens_a_connection_is_refused() -> None:
    with HeldAddress("127.0.0.1:0") as held, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", held.port), timeout=20)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_second_gateway_is_refused_whether_workers_listen_or_not(workers: int) -> None:
    with HeldAddress("127.0.0.1:0") as held:
        listeners = [worker(held) for _ in range(workers)]
        assert refused(str(held)) == f"cannot listen at {held}: Address already in use"
        for listener in listeners:
            listener.close()
        assert "Address already in use" in refused(str(held))


def test_a_program_that_takes_the_address_for_itself_is_refused() -> None:
    with HeldAddress("127.0.0.1:0") as held, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="Address already in use"):
            other.bind(("127.0.0.1", held.port))


def test_an_address_that_others_share_is_in_use() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert "Address already in use" in refused(f"127.0.0.1:{other.getsockname()[1]}")


def test_it_can_be_held_again_at_once_although_connections_linger() -> None:
    with HeldAddress("127.0.0.1:0") as held, worker(held) as listener:
        with socket.create_connection(("127.0.0.1", held.port), timeout=20) as client:
            server, _ = listener.accept()
            server.close()  # the side that closes first waits for a minute
            assert client.recv(1) == b""
        address = str(held)
    with HeldAddress(address) as again, worker(again):
        assert str(again) == address


def test_a_name_is_held_at_all_its_addresses_with_one_port() -> None:
    with HeldAddress("localhost:0") as held:
        assert "Address already in use" in refused(f"127.0.0.1:{held.port}")
        with worker(held):
            pass


def test_of_several_addresses_those_of_this_machine_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses = [(socket.AF_INET, (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr("gateway.supervising.listening._resolved", lambda host, port: addresses)
    with HeldAddress("both:0") as held, worker(held):
        socket.create_connection(("127.0.0.1", held.port), timeout=20).close()


def test_an_address_of_another_machine_is_refused() -> None:
    assert "Cannot assign requested address" in refused("192.0.2.1:0")


def test_a_name_that_nobody_knows_is_refused() -> None:
    assert refused("nowhere.invalid:0").startswith("cannot listen at nowhere.invalid:0: ")
