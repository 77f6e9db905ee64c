from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from certificates import authority, of_client, of_server, signed
from cryptography import x509

from gateway.security.certificates import Certificates, certificate_name, pem_of
from gateway.security.errors import Refused, UnusableFile
from gateway.security.permissions import Grants, Methods
from gateway.security.tls import ClientTls, ServerTls

METHODS = Methods(("trident.risk.v1.RiskService/ScoreRisk", "trident.model.v1.ModelService/List"))
CA = authority()


@pytest.mark.parametrize(
    ("name", "alternatives", "said"),
    [
        ("cn", (), "cn"),
        ("cn", (x509.DNSName("a.test"), x509.DNSName("b.test")), "a.test"),
        ("cn", (x509.DNSName("a.test"), x509.UniformResourceIdentifier("spiffe://t/a")),
         "spiffe://t/a"),
        ("cn", (x509.RFC822Name("a@b.test"),), "cn"),
        ("", (x509.DNSName("a.test"),), "a.test"),
    ],
)  # fmt: skip
def test_a_certificate_says_whose_it_is(
    name: str, alternatives: tuple[x509.GeneralName, ...], said: str
) -> None:
    assert certificate_name(signed(CA, name, alternatives=alternatives).pem) == said


@pytest.mark.parametrize("pem", [signed(CA, "").pem, signed(CA, "a\nb").pem, b"none", b""])
def test_one_that_names_nobody_is_refused(pem: bytes) -> None:
    with pytest.raises(Refused):
        certificate_name(pem)


def test_envoys_header_and_the_certificate_itself_say_the_same() -> None:
    pem = of_client(CA, "billing").pem
    header = f'By=spiffe://t/gateway;Hash=00;Cert="{quote(pem.decode(), safe="")}"'.encode()
    certificates = Certificates(METHODS, lambda: None)
    clients = [certificates.client(told) for told in (pem, header)]
    assert {client.id for client in clients} == {"certificate:spiffe://test/billing"}


def test_what_a_certificate_contains_cannot_look_like_another() -> None:
    other = quote(of_client(CA, "admin").pem.decode(), safe="")
    uri = x509.UniformResourceIdentifier(f'x:";Cert="{other}')
    mean = signed(CA, "x", alternatives=(uri,))
    header = f'Hash=00;Cert="{quote(mean.pem.decode(), safe="")}"'.encode()
    assert pem_of(header) == mean.pem


def test_a_header_without_a_certificate_is_refused() -> None:
    with pytest.raises(Refused):
        pem_of(b"Hash=00;Subject=cn")


def test_without_a_file_of_permissions_a_certificate_permits_all() -> None:
    client = Certificates(METHODS, lambda: None).client(of_client(CA).pem)
    assert client.methods == set(METHODS.names)


def test_with_one_it_permits_what_that_says_and_follows_it() -> None:
    grants = Grants(clients={"certificate:spiffe://test/client": ("risk",)})
    certificates = Certificates(METHODS, lambda: grants)
    pem = of_client(CA).pem
    first = certificates.client(pem)
    assert first.methods == {METHODS.names[0]}
    assert certificates.client(pem) is first
    assert certificates.client(of_client(CA, "other").pem).methods == set()
    grants = Grants()
    certificates.forget()
    assert certificates.client(pem).methods == set()


def test_what_tls_is_spoken_with_is_checked(tmp_path: Path) -> None:
    tls = ServerTls(*of_server(CA).write(tmp_path, "tls"), CA.write(tmp_path, "ca")[0])
    tls.check()
    assert [path.name for path in tls.files] == ["tls.pem", "tls.key", "ca.pem"]
    of_server(CA).write(tmp_path, "other")
    for wrong in (
        ServerTls(tls.certificate, tmp_path / "other.key"),
        ServerTls(tls.key, tls.key),
        ServerTls(tls.certificate, tls.certificate),
        ServerTls(tmp_path / "absent", tls.key),
        ServerTls(tls.certificate, tls.key, tls.key),
    ):
        with pytest.raises(UnusableFile) as refused:
            wrong.check()
        assert "PRIVATE" not in str(refused.value)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    pair = of_server(CA)
    certificate, key = pair.write(tmp_path, "tls")
    key.write_bytes(pair.key_with_password(b"hush"))
    with pytest.raises(UnusableFile, match="cannot be used with") as refused:
        ServerTls(certificate, key).check()
    assert "hush" not in str(refused.value)


def test_a_context_for_servers_trusts_its_authority_alone(tmp_path: Path) -> None:
    ca = CA.write(tmp_path, "ca")[0]
    tls = ClientTls(ca, *of_client(CA).write(tmp_path, "client"))
    assert len(tls.files) == 3
    assert len(tls.context().get_ca_certs()) == 1
    with pytest.raises(UnusableFile):
        ClientTls(tmp_path / "absent").context()


def test_dates_are_for_the_handshake_and_not_for_us(tmp_path: Path) -> None:
    # A server whose certificate has expired must start: its clients say so, and it can be renewed.
    old = signed(CA, "x", valid=(timedelta(days=-2), timedelta(days=-1)))
    ServerTls(*old.write(tmp_path, "old")).check()
