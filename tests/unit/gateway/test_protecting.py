from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_runner import FakeCall
from issuers import AUDIENCE, ISSUER, Issuer

from gateway.connecting import protection_of, triton_tls
from gateway.errors import PermissionDenied, Unauthenticated
from gateway.protecting import guarding
from gateway.security.errors import UnusableFile
from gateway.security.keys import KeyFile, new_key, write_keys
from gateway.settings import Settings
from gateway.transport.guarding import Guard

SCORE_RISK = "trident.risk.v1.RiskService/ScoreRisk"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TRIDENT_{name.upper()}", raising=False)


def settings(**given: Any) -> Settings:
    return Settings(**{"triton": ("127.0.0.1:1",)} | given)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, str]:
    """A file of keys, and one of them."""
    key, entry = new_key("billing", ["risk"])
    path = tmp_path / "keys.yaml"
    write_keys(path, KeyFile(keys=(entry,)))
    return path, key


async def ask(guard: Guard, *, method: str = SCORE_RISK, **metadata: str) -> Any:
    async def handler(request: Any, call: Any) -> Any:
        return request, call.client, call.trace.attributes

    named = {name.replace("_", "-"): value for name, value in metadata.items()}
    call: Any = FakeCall(metadata=named)
    return await guard.unary(bytes.upper, handler, method)(b"data", call)


def test_without_settings_of_security_there_is_no_guard() -> None:
    with guarding(settings()) as guarded:
        assert guarded is None
    protection = protection_of(settings())
    assert protection.tls is None
    assert triton_tls(settings()) is None


async def test_who_may_call_gets_through_with_a_name(keys: tuple[Path, str]) -> None:
    path, key = keys
    with guarding(settings(keys_file=path)) as guarded:
        assert guarded is not None
        request, client, attributes = await ask(guarded.guard, x_api_key=key)
        assert request == b"DATA"
        assert client.id == "key:billing"
        assert attributes == {"enduser.id": "key:billing"}
        with pytest.raises(PermissionDenied):
            await ask(guarded.guard, method="trident.model.v1.ModelService/GetModel", x_api_key=key)
        with pytest.raises(Unauthenticated):
            await ask(guarded.guard)
        (reading,) = guarded.guard.readings()
        assert reading.value == 1


async def test_other_settings_take_the_place_of_the_old(
    keys: tuple[Path, str], tmp_path: Path
) -> None:
    path, key = keys
    issuer = Issuer()
    (tmp_path / "jwks.json").write_text(issuer.jwks("ec"))
    tokens = {
        "jwt_keys": str(tmp_path / "jwks.json"), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE,
    }  # fmt: skip
    with guarding(settings(keys_file=path)) as guarded:
        assert guarded is not None
        with pytest.raises(Unauthenticated):
            await ask(guarded.guard, authorization=f"Bearer {issuer.token('ec')}")
        guarded.change(settings(**tokens))
        _, client, _ = await ask(guarded.guard, authorization=f"Bearer {issuer.token('ec')}")
        assert client.id == "token:alice"
        with pytest.raises(Unauthenticated):
            await ask(guarded.guard, x_api_key=key)
        (reading,) = guarded.guard.readings()
        assert reading.value == 2  # counted on
        with pytest.raises(UnusableFile):
            guarded.change(settings(**tokens | {"jwt_keys": str(tmp_path / "none")}))
        assert await ask(guarded.guard, authorization=f"Bearer {issuer.token('ec')}")


@pytest.mark.parametrize("name", ["keys_file", "permissions_file"])
def test_a_file_that_is_not_there_is_no_start(
    keys: tuple[Path, str], tmp_path: Path, name: str
) -> None:
    given = {"keys_file": keys[0]} | {name: tmp_path / "none"}
    with pytest.raises(UnusableFile), guarding(settings(**given)):
        pass


async def test_a_file_that_cannot_be_read_anew_is_counted(keys: tuple[Path, str]) -> None:
    path, key = keys
    with guarding(settings(keys_file=path)) as guarded:
        assert guarded is not None
        guarded._watch.stop()  # looked at by hand
        (watched,) = guarded._watch._watched
        good = path.read_bytes()
        path.write_text("no: keys")
        watched.look()
        assert [reading.value for reading in guarded.readings()] == [0, 1]
        assert (await ask(guarded.guard, x_api_key=key))[1].id == "key:billing"
        path.write_bytes(good)
        watched.look()
        assert [reading.value for reading in guarded.readings()] == [0, 0]


async def test_permissions_follow_their_file(tmp_path: Path) -> None:
    issuer, permissions = Issuer(), tmp_path / "permissions.yaml"
    (tmp_path / "jwks.json").write_text(issuer.jwks("ec"))
    permissions.write_text("clients: {}")
    given = settings(
        jwt_keys=str(tmp_path / "jwks.json"),
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
        permissions_file=permissions,
    )
    token = issuer.token("ec", scope="")
    with guarding(given) as guarded:
        assert guarded is not None
        with pytest.raises(PermissionDenied):
            await ask(guarded.guard, authorization=f"Bearer {token}")
        permissions.write_text("clients: {'token:alice': [risk]}")
        (watched,) = (one for one in guarded._watch._watched if one.name == "Permissions")
        watched.look()
        assert await ask(guarded.guard, authorization=f"Bearer {token}")
