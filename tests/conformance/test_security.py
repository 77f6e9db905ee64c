"""TLS, who may call, and what is borne with: the same on each transport."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Pair, authority, of_client, of_server, signed
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from issuers import AUDIENCE, ISSUER, Issuer, forgeries, payload
from manifests import manifest
from served_process import CALL_S, Client, ServedProcess

from gateway.security.keys import KeyFile, new_key, write_keys
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.model.v1 import model_service_pb2 as model
from trident.risk.v1 import risk_service_pb2 as risk

DAY = timedelta(days=1)
SCORE_RISK = "/trident.risk.v1.RiskService/ScoreRisk"
CHANGE_S = 15


@dataclass
class Place:
    """Where a server's files are, and who made them."""

    folder: Path
    authority: Pair
    issuer: Issuer
    key: str
    revoked: str

    @property
    def settings(self) -> dict[str, Any]:
        """TLS, tokens and keys."""
        return self.tls | {
            "keys_file": str(self.folder / "keys.yaml"),
            "jwt_keys": str(self.folder / "jwks.json"),
            "jwt_issuer": ISSUER,
            "jwt_audience": AUDIENCE,
            "access_log": str(self.folder / "access.jsonl"),
            "traces_file": str(self.folder / "traces.jsonl"),
        }

    @property
    def tls(self) -> dict[str, Any]:
        return {
            "tls_certificate": str(self.folder / "tls.pem"),
            "tls_key": str(self.folder / "tls.key"),
        }

    @property
    def mutual_tls(self) -> dict[str, Any]:
        return self.tls | {"tls_client_ca": str(self.folder / "ca.pem")}


def new_place(folder: Path) -> Place:
    folder.mkdir(parents=True, exist_ok=True)
    ca, issuer = authority(), Issuer()
    ca.write(folder, "ca")
    of_server(ca).write(folder, "tls")
    (folder / "jwks.json").write_text(issuer.jwks())
    key, entry = new_key("billing", ["risk"])
    write_keys(folder / "keys.yaml", KeyFile(keys=(entry,)))
    revoked, _ = new_key("former", ["*"])
    return Place(folder, ca, issuer, key, revoked)


@contextmanager
def serving(transport: str, place: Place, settings: dict[str, Any]) -> Iterator[ServedProcess]:
    server = ServedProcess(transport, place.folder / "served", settings=settings)
    try:
        server.wait_listening()
        yield server
    finally:
        code = server.stop()
    assert code == 0


@pytest.fixture(scope="module")
def place(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return new_place(tmp_path_factory.mktemp(f"secured-{transport}"))


@pytest.fixture(scope="module")
def secured(transport: str, place: Place) -> Iterator[ServedProcess]:
    """A server with TLS that asks for a token or a key."""
    with serving(transport, place, place.settings) as server:
        yield server


@pytest.fixture
def channel(secured: ServedProcess, place: Place) -> Iterator[grpc.Channel]:
    with connected(secured, place.authority) as channel:
        yield channel


@contextmanager
def connected(
    server: ServedProcess, ca: Pair, client: Pair | None = None
) -> Iterator[grpc.Channel]:
    pair = (client.key, client.pem) if client else ()
    credentials = grpc.ssl_channel_credentials(ca.pem, *pair)
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with grpc.secure_channel(f"localhost:{server.port}", credentials, options) as channel:
        yield channel


def risk_request(request_id: str = "") -> risk.ScoreRiskRequest:
    """What the release of the server takes."""
    served = manifest("score-risk")
    features = {
        one.name: FeatureValue(category=one.categories[0])
        if one.kind == "category"
        else FeatureValue(number=1.0)
        for one in served.features
    }
    return risk.ScoreRiskRequest(request_id=request_id, features=features)


def score(channel: grpc.Channel, *metadata: tuple[str, str]) -> risk.ScoreRiskResponse:
    rpc = channel.unary_unary(
        SCORE_RISK, risk.ScoreRiskRequest.SerializeToString, risk.ScoreRiskResponse.FromString
    )
    response: risk.ScoreRiskResponse = rpc(risk_request(), timeout=CALL_S, metadata=metadata)
    return response


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, status_pb2.Status]:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), rpc_status.from_call(raised.value)


def bearer(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


def log_after(server: ServedProcess, text: str) -> str:
    """The log, once it has a text."""
    end = time.monotonic() + CALL_S
    while text not in (log := server.log.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    assert text in log
    return log


def test_a_token_lets_in_whom_it_names(channel: grpc.Channel, place: Place) -> None:
    assert score(channel, bearer(place.issuer.token())).model.line == "score-risk"


def test_a_key_lets_in_whoever_has_it(channel: grpc.Channel, place: Place) -> None:
    assert score(channel, ("x-api-key", place.key)).model.line == "score-risk"


def test_what_is_forged_is_refused_with_the_same_bare_status(
    channel: grpc.Channel, place: Place, secured: ServedProcess
) -> None:
    tokens = forgeries(place.issuer)
    told = {
        name: refused(lambda token=token: score(channel, bearer(token)))  # type: ignore[misc]
        for name, token in tokens.items()
    }
    told["no credentials"] = refused(lambda: score(channel))
    told["a revoked key"] = refused(lambda: score(channel, ("x-api-key", place.revoked)))
    told["no bearer"] = refused(lambda: score(channel, ("authorization", "Basic aHVzaA==")))
    assert len(told) >= 24
    statuses = {status.SerializeToString() for _, status in told.values()}
    assert len(statuses) == 1
    code, status = told["expired"]
    assert (code, status.message) == (grpc.StatusCode.UNAUTHENTICATED, "Unauthenticated.")
    info = error_details_pb2.ErrorInfo()
    (detail,) = status.details
    detail.Unpack(info)
    assert (info.reason, dict(info.metadata)) == ("UNAUTHENTICATED", {})
    log_after(secured, f"Refused {SCORE_RISK[1:]} from ipv4:127.0.0.1:")


def test_the_log_says_why_a_token_is_refused(
    channel: grpc.Channel, place: Place, secured: ServedProcess
) -> None:
    time.sleep(1.1)  # for what the log says of a second at most
    forged = forgeries(place.issuer)
    for name in ("expired", "for another audience", "with alg none"):
        refused(lambda name=name: score(channel, bearer(forged[name])))  # type: ignore[misc]
    log = log_after(secured, "signed by 'none', which is not allowed")
    assert ": expired" in log
    assert ": for another audience" in log


def test_what_is_not_permitted_is_denied_by_the_methods_name(
    channel: grpc.Channel, place: Place
) -> None:
    rpc = channel.unary_unary("/trident.diagnose.v1.DiagnoseService/Diagnose")
    for credentials in (bearer(place.issuer.token()), ("x-api-key", place.key)):
        code, status = refused(lambda who=credentials: rpc(b"", timeout=CALL_S, metadata=(who,)))  # type: ignore[misc]
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert "DiagnoseService/Diagnose" in status.message


@pytest.mark.parametrize("method", ["StreamScoreRisk", "BatchScoreRisk"])
def test_every_kind_of_method_is_guarded(channel: grpc.Channel, place: Place, method: str) -> None:
    path = f"/trident.risk.v1.RiskService/{method}"
    stream = risk.StreamScoreRiskRequest(request=risk_request(request_id="a"))
    batch = risk.BatchScoreRiskRequest(requests=[risk_request()])
    message = (stream if method.startswith("Stream") else batch).SerializeToString()

    def ask(*metadata: tuple[str, str]) -> list[bytes]:
        rpc = channel.stream_stream(path)
        return list(rpc(iter([message]), timeout=CALL_S, metadata=metadata))

    assert len(ask(bearer(place.issuer.token()))) == 1
    assert refused(ask)[0] is grpc.StatusCode.UNAUTHENTICATED
    denied = bearer(place.issuer.token(scope="trident:diagnose"))
    assert refused(lambda: ask(denied))[0] is grpc.StatusCode.PERMISSION_DENIED


def test_who_is_refused_learns_nothing_of_what_was_sent(channel: grpc.Channel) -> None:
    rpc = channel.unary_unary(SCORE_RISK)
    assert refused(lambda: rpc(b"\xff", timeout=CALL_S))[0] is grpc.StatusCode.UNAUTHENTICATED


def test_health_is_open_and_reflection_asks_who_it_is(channel: grpc.Channel, place: Place) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    checked = health.Check(health_pb2.HealthCheckRequest(), timeout=CALL_S)
    assert checked.status == health_pb2.HealthCheckResponse.SERVING
    rpc = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")

    def ask(*metadata: tuple[str, str]) -> list[bytes]:
        return list(rpc(iter([b"\x3a\x00"]), timeout=CALL_S, metadata=metadata))

    assert refused(ask)[0] is grpc.StatusCode.UNAUTHENTICATED
    assert b"trident.risk.v1.RiskService" in ask(("x-api-key", place.key))[0]


def test_without_the_authority_or_without_tls_nobody_gets_in(
    secured: ServedProcess, place: Place
) -> None:
    with connected(secured, authority("another")) as stranger:
        code, _ = refused(lambda: score(stranger, ("x-api-key", place.key)))
        assert code is grpc.StatusCode.UNAVAILABLE
    with grpc.insecure_channel(secured.target) as plain:
        code, _ = refused(lambda: score(plain, ("x-api-key", place.key)))
        assert code is grpc.StatusCode.UNAVAILABLE


def test_the_access_log_and_the_trace_say_who_called_what(
    secured: ServedProcess, place: Place, channel: grpc.Channel
) -> None:
    parent = "00-" + "7" * 32 + "-" + "1" * 16 + "-01"
    score(channel, bearer(place.issuer.token(sub="carol")), ("traceparent", parent))
    line = _line(place.folder / "access.jsonl", "7" * 32)
    assert line["client"] == "token:carol"
    assert (line["method"], line["code"]) == (SCORE_RISK[1:], "OK")
    assert (line["line"], line["variant"], line["traced"]) == ("score-risk", "ensemble", True)
    assert line["release"]
    assert line["request_bytes"] == len(risk_request().SerializeToString())
    assert line["response_bytes"] > 0
    assert line["milliseconds"] > 0
    traces = _text_with(place.folder / "traces.jsonl", "7" * 32)
    assert '"enduser.id","value":{"stringValue":"token:carol"}' in traces.replace(" ", "")


def test_no_secret_comes_out_anywhere(
    secured: ServedProcess, place: Place, channel: grpc.Channel
) -> None:
    good = place.issuer.token(sub="dave")
    password = "correct-horse-battery"
    texts = []
    for metadata in (
        (bearer(good), ("password", password)),
        (("x-api-key", place.key), ("password", password)),
        (bearer(good + "x"), ("password", password)),
        (("x-api-key", place.key + "x"), ("password", password)),
        (("authorization", f"Basic {password}"),),
    ):
        try:
            score(channel, *metadata)
        except grpc.RpcError as error:
            texts.append(f"{error.details()} {error.trailing_metadata()}")  # type: ignore[attr-defined]
    score(channel, bearer(good), ("traceparent", "00-" + "8" * 32 + "-" + "1" * 16 + "-01"))
    texts += [
        _text_with(place.folder / "access.jsonl", "8" * 32),
        _text_with(place.folder / "traces.jsonl", "8" * 32),
        log_after(secured, "authorization is not a Bearer token"),
        *(path.read_text() for path in (place.folder / "served").glob("*.json")),
    ]
    said = "\n".join(texts)
    private = (place.folder / "tls.key").read_text().splitlines()[1]
    secrets = [good, *good.split("."), place.key, place.key.split("_", 2)[2], password, private]
    assert [secret for secret in secrets if secret in said] == []


def test_keys_tokens_and_certificates_can_be_changed_while_it_serves(
    transport: str, tmp_path: Path
) -> None:
    place = new_place(tmp_path / "place")
    with serving(transport, place, place.settings) as server:
        with connected(server, place.authority) as channel:
            score(channel, ("x-api-key", place.key))
            key, entry = new_key("other", ["risk"])
            write_keys(place.folder / "keys.yaml", KeyFile(keys=(entry,)))
            new_issuer = Issuer()
            (place.folder / "jwks.json").write_text(new_issuer.jwks())
            _until(lambda: score(channel, ("x-api-key", key)))
            _until(lambda: score(channel, bearer(new_issuer.token())))
            for gone in (("x-api-key", place.key), bearer(place.issuer.token())):
                code, _ = refused(lambda who=gone: score(channel, who))  # type: ignore[misc]
                assert code is grpc.StatusCode.UNAUTHENTICATED
            # What cannot be used changes nothing.
            (place.folder / "keys.yaml").write_text("keys: [")
            log_after(server, "API keys: the old stays in force")
            score(channel, ("x-api-key", key))
        new_ca = authority("new")
        of_server(new_ca).write(place.folder, "tls")

        def ask() -> None:
            with connected(server, new_ca) as renewed:
                score(renewed, ("x-api-key", key))

        _until(ask)
        (place.folder / "tls.key").write_text("none")
        log_after(server, "Certificates: the old stays in force")
        ask()


BAD_CLIENTS: dict[str, tuple[Callable[[Pair], Pair | None], str]] = {
    "without a certificate": (lambda ca: None, "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
    "of another authority": (
        lambda ca: of_client(authority("another")), "unable.to.get.local.issuer.certificate"
    ),
    "expired": (
        lambda ca: signed(ca, "old", valid=(-2 * DAY, -DAY)), "certificate.has.expired"
    ),
    "not valid yet": (
        lambda ca: signed(ca, "new", valid=(DAY, 2 * DAY)), "certificate.is.not.yet.valid"
    ),
    "of a server": (lambda ca: of_server(ca), "(unsuitable|unsupported).certificate.purpose"),
    "signed by a client": (
        lambda ca: of_client(of_client(ca), "leaf"), "unable.to.get.local.issuer.certificate"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def mutual(
    transport: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServedProcess, Place]]:
    """A server that asks for a certificate, and lets one client ask for one domain only."""
    place = new_place(tmp_path_factory.mktemp(f"mutual-{transport}"))
    permissions = place.folder / "permissions.yaml"
    permissions.write_text(
        "clients: {'certificate:spiffe://test/client': ['*'],"
        " 'certificate:spiffe://test/narrow': [diagnose]}"
    )
    settings = place.mutual_tls | {
        "permissions_file": str(permissions),
        "access_log": str(place.folder / "access.jsonl"),
    }
    with serving(transport, place, settings) as server:
        yield server, place


def test_a_certificate_lets_in_whom_it_names(mutual: tuple[ServedProcess, Place]) -> None:
    server, place = mutual
    with connected(server, place.authority, of_client(place.authority)) as channel:
        parent = "00-" + "9" * 32 + "-" + "1" * 16 + "-01"
        score(channel, ("traceparent", parent))
    line = _line(place.folder / "access.jsonl", "9" * 32)
    assert line["client"] == "certificate:spiffe://test/client"


@pytest.mark.parametrize("name", BAD_CLIENTS)
def test_the_handshake_fails_and_the_log_says_why(
    mutual: tuple[ServedProcess, Place], name: str
) -> None:
    server, place = mutual
    make, why = BAD_CLIENTS[name]
    said = len(re.findall(why, server.log.read_text()))
    with connected(server, place.authority, make(place.authority)) as channel:
        assert refused(lambda: score(channel))[0] is grpc.StatusCode.UNAVAILABLE
    _until(lambda: _assert(len(re.findall(why, server.log.read_text())) > said))


def test_a_client_that_goes_without_a_word_is_no_failed_handshake(
    mutual: tuple[ServedProcess, Place], tmp_path: Path
) -> None:
    server, place = mutual
    context = ssl.create_default_context(cafile=place.folder / "ca.pem")
    context.load_cert_chain(*of_client(place.authority).write(tmp_path, "client"))
    context.set_alpn_protocols(["h2"])
    before = server.log.read_text()
    for _ in range(3):
        connection = socket.create_connection(("127.0.0.1", server.port))
        with context.wrap_socket(connection, server_hostname="localhost") as secured:
            secured.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Of one that comes after them the log does speak.
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.send(b"no TLS at all")
        said = log_after(server, "WRONG_VERSION_NUMBER").removeprefix(before)
    assert [line for line in said.splitlines() if "WRONG_VERSION_NUMBER" not in line] == []


def test_a_certificate_permits_what_the_file_says(mutual: tuple[ServedProcess, Place]) -> None:
    server, place = mutual
    with connected(server, place.authority, of_client(place.authority, "narrow")) as channel:
        assert refused(lambda: score(channel))[0] is grpc.StatusCode.PERMISSION_DENIED
        rpc = channel.unary_unary("/trident.diagnose.v1.DiagnoseService/Diagnose")
        code, _ = refused(lambda: rpc(diagnose.DiagnoseRequest().SerializeToString()))
        assert code is grpc.StatusCode.INVALID_ARGUMENT


def test_nobody_can_say_which_certificate_they_have(mutual: tuple[ServedProcess, Place]) -> None:
    server, place = mutual
    from urllib.parse import quote

    claimed = quote(of_client(place.authority).pem.decode(), safe="")
    with connected(server, place.authority, of_client(place.authority, "narrow")) as channel:
        header = ("x-forwarded-client-cert", f'Hash=00;Cert="{claimed}"')
        assert refused(lambda: score(channel, header))[0] is grpc.StatusCode.PERMISSION_DENIED


def test_a_new_authority_takes_the_place_of_the_old(transport: str, tmp_path: Path) -> None:
    place = new_place(tmp_path / "place")
    with serving(transport, place, place.mutual_tls) as server:
        new = authority("new")

        def ask(client: Pair) -> None:
            with connected(server, place.authority, client) as channel:
                score(channel)

        ask(of_client(place.authority))
        (place.folder / "ca.pem").write_bytes(new.pem)
        _until(lambda: ask(of_client(new)))
        code, _ = refused(lambda: ask(of_client(place.authority)))
        assert code is grpc.StatusCode.UNAVAILABLE


def test_metadata_is_bounded_in_size_and_count(transport: str, tmp_path: Path) -> None:
    place = new_place(tmp_path / "place")
    limits = {"max_metadata_bytes": 8192, "max_metadata_count": 30}
    with (
        serving(transport, place, limits) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        client = Client(channel)
        some = tuple((f"k{number}", "v") for number in range(20))
        client.unary({"metadata": some})
        many = tuple((f"k{number}", "v") for number in range(60))
        for metadata in (many, (("k", "v" * 20_000),)):
            with pytest.raises(grpc.RpcError):
                client.unary({"metadata": metadata})
        assert client.unary({"metadata": some})


def test_reflection_can_be_switched_off(transport: str, tmp_path: Path) -> None:
    place = new_place(tmp_path / "place")
    with (
        serving(transport, place, {"reflection": False}) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        rpc = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as raised:
            list(rpc(iter([b"\x3a\x00"]), timeout=CALL_S))
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=CALL_S).status


def test_a_token_is_not_enough_for_what_it_does_not_permit_of_models(
    channel: grpc.Channel, place: Place
) -> None:
    rpc = channel.unary_unary("/trident.model.v1.ModelService/ListModels")
    listed = model.ListModelsResponse.FromString(
        rpc(b"", timeout=CALL_S, metadata=(bearer(place.issuer.token()),))
    )
    assert listed.models
    token = place.issuer.token(scope="trident:risk")
    code, _ = refused(lambda: rpc(b"", timeout=CALL_S, metadata=(bearer(token),)))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert payload()["scope"] == "openid trident:risk trident:model"


def _until(attempt: Callable[[], object]) -> None:
    """Try until it goes well."""
    end = time.monotonic() + CHANGE_S
    while True:
        try:
            attempt()
        except (grpc.RpcError, AssertionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def _assert(holds: bool) -> None:
    assert holds


def _text_with(path: Path, text: str) -> str:
    end = time.monotonic() + CALL_S
    while time.monotonic() < end:
        if path.exists() and text in (found := path.read_text()):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{path} does not have {text}")


def _line(path: Path, trace_id: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in _text_with(path, trace_id).splitlines()]
    (found,) = [line for line in lines if line.get("trace_id") == trace_id]
    return dict(found)
