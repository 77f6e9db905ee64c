"""A real Triton that speaks TLS and wants to see our certificate."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Pair, authority, of_client, signed
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from google.rpc import code_pb2
from tritonclient.grpc import service_pb2

from gateway.security.errors import UnusableFile
from gateway.security.tls import ClientTls
from gateway.telemetry.metrics.instruments import TRITON_UP
from gateway.triton.client import TritonClient
from gateway.triton.discovery import Discovery
from gateway.triton.http2.errors import CallFailed
from gateway.triton.statistics import TritonStatistics
from triton_models.embedded.command import Launch, Ports
from triton_models.embedded.installation import find_installation, lay_out_backends

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("embedded_triton_available")]

START_S = 60
CA = authority()


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    folder = tmp_path_factory.mktemp("triton")
    (folder / "models").mkdir()
    (folder / "backends").mkdir()
    # As many have it: a name, and no address.
    named = signed(
        CA,
        "triton",
        alternatives=(x509.DNSName("localhost"),),
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
    )
    certificate, key = named.write(folder, "tls")
    ca, _ = CA.write(folder, "ca")
    installation = find_installation()
    lay_out_backends(installation, folder / "backends")
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for each in (one, two, three):
            each.bind(("127.0.0.1", 0))
        ports = Ports(*(each.getsockname()[1] for each in (one, two, three)))
    launch = Launch(installation, folder / "backends", folder / "models", ports, "trident_tls_")
    arguments = [
        *launch.arguments(),
        "--grpc-use-ssl=true", "--grpc-use-ssl-mutual=true",
        f"--grpc-server-cert={certificate}", f"--grpc-server-key={key}", f"--grpc-root-cert={ca}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            arguments, stdout=log, stderr=log, env=launch.environment({"PATH": "/usr/bin:/bin"})
        )
    try:
        yield f"localhost:{ports.grpc}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def files(tmp_path: Path) -> ClientTls:
    """What the gateway speaks TLS with."""
    ca, _ = CA.write(tmp_path, "ca")
    return ClientTls(ca, *of_client(CA).write(tmp_path, "client"))


async def until_live(client: TritonClient) -> None:
    async with asyncio.timeout(START_S):
        while not await client.is_live():
            await asyncio.sleep(0.1)


async def infer(client: TritonClient) -> int:
    """The code that an inference with an unknown model ends with: Triton itself must say it."""
    request = service_pb2.ModelInferRequest(model_name="nothing")
    with pytest.raises(CallFailed) as failed:
        await client.infer(request, timeout_s=10, headers={})
    return int(failed.value.code().value[0])


async def test_all_connections_speak_tls(triton: str, files: ClientTls) -> None:
    client = TritonClient(triton, tls=files)
    await until_live(client)
    assert await infer(client) == code_pb2.NOT_FOUND
    statistics = TritonStatistics("t", triton, fresh=True, tls=files)
    _, gauges = await asyncio.to_thread(statistics.take)
    assert gauges == {(TRITON_UP, ("t",)): 1.0}
    statistics.close()
    await client.close()


async def test_who_is_found_by_a_name_must_show_that_name(triton: str, files: ClientTls) -> None:
    address = triton.replace("localhost", "127.0.0.1")

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    def build(target: str, name: str | None) -> TritonClient:
        return TritonClient(target, tls=files, name=name)

    (client,) = await Discovery([f"dns:///{triton}"], build, resolve).look()
    assert client.target == address
    await until_live(client)
    assert await infer(client) == code_pb2.NOT_FOUND
    await client.close()
    statistics = TritonStatistics("t", address, fresh=True, tls=files, host="localhost")
    _, gauges = await asyncio.to_thread(statistics.take)
    assert gauges == {(TRITON_UP, ("t",)): 1.0}
    statistics.close()
    for name in (None, "another"):
        client = TritonClient(address, tls=files, name=name)
        assert not await client.is_live()
        assert await infer(client) == code_pb2.UNAVAILABLE
        await client.close()


@pytest.mark.parametrize("wrong", ["plain text", "another authority", "no certificate"])
async def test_nothing_is_sent_where_trust_is_missing(
    triton: str, files: ClientTls, tmp_path: Path, wrong: str
) -> None:
    trusted = TritonClient(triton, tls=files)
    await until_live(trusted)
    await trusted.close()
    tls: dict[str, ClientTls | None] = {
        "plain text": None,
        "another authority": ClientTls(
            authority("another").write(tmp_path, "other")[0], files.certificate, files.key
        ),
        "no certificate": ClientTls(files.ca),
    }
    client = TritonClient(triton, tls=tls[wrong])
    assert not await client.is_live()
    assert await infer(client) == code_pb2.UNAVAILABLE
    await client.close()


async def test_new_certificates_are_used_without_a_restart(
    triton: str, files: ClientTls, tmp_path: Path
) -> None:
    assert files.certificate is not None
    assert files.key is not None
    good = files.certificate.read_bytes(), files.key.read_bytes()
    stranger: Pair = of_client(authority("another"))
    stranger.write(tmp_path, "client")
    client = TritonClient(triton, tls=files)
    assert not await client.is_live()
    files.certificate.write_bytes(good[0])
    files.key.write_bytes(good[1])
    await until_live(client)
    assert await infer(client) == code_pb2.NOT_FOUND
    await client.close()


def test_certificates_that_cannot_be_used_are_no_start(files: ClientTls) -> None:
    files.ca.write_text("none")
    with pytest.raises(UnusableFile):
        TritonClient("localhost:1", tls=files)
