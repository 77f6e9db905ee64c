from __future__ import annotations

from collections.abc import Sequence

from fake_triton import FakeTriton

from gateway.triton.discovery import Discovery


class Names:
    """A name server that a test tells what to say."""

    def __init__(self, **addresses: Sequence[str]) -> None:
        self.addresses = dict(addresses)
        self.away = False

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        if self.away or host not in self.addresses:
            raise OSError("no such name")
        return self.addresses[host]


def discovery(names: Names, *targets: str) -> Discovery:
    return Discovery(targets, lambda target, _: FakeTriton(target=target), names)  # type: ignore[arg-type, return-value]


def targets(found: Sequence[object]) -> list[str]:
    return [one.target for one in found]  # type: ignore[attr-defined]


async def test_a_name_stands_for_all_its_addresses() -> None:
    one = discovery(Names(tritons=["10.0.0.2", "10.0.0.1", "::1"]), "dns:///tritons:8001")
    assert one.changes
    assert targets(await one.look()) == ["10.0.0.1:8001", "10.0.0.2:8001", "[::1]:8001"]


async def test_whoever_is_found_by_a_name_shows_that_name() -> None:
    shown: dict[str, str | None] = {}

    def build(target: str, name: str | None) -> FakeTriton:
        shown[target] = name
        return FakeTriton(target=target)

    names = Names(**{"tritons.ml.svc": ["10.0.0.1"]})
    one = Discovery(("dns:///tritons.ml.svc:8001", "a:1"), build, names)  # type: ignore[arg-type]
    await one.look()
    assert shown == {"10.0.0.1:8001": "tritons.ml.svc", "a:1": None}


async def test_a_name_that_no_name_server_would_take_is_one_that_cannot_be_looked_up() -> None:
    one = Discovery((f"dns:///{'x' * 70}.de:1",), lambda target, _: FakeTriton(target=target))  # type: ignore[arg-type, return-value]
    assert await one.look() == ()


async def test_what_is_no_name_is_one_triton_and_is_not_looked_up() -> None:
    one = discovery(Names(), "a:1", "b:2")
    assert not one.changes
    assert targets(await one.look()) == ["a:1", "b:2"]


async def test_who_comes_and_goes_is_seen_and_who_stays_is_the_same() -> None:
    names = Names(tritons=["10.0.0.1", "10.0.0.2"])
    one = discovery(names, "dns:///tritons:8001")
    first, second = await one.look()
    names.addresses["tritons"] = ["10.0.0.2", "10.0.0.3"]
    stayed, came = await one.look()
    assert stayed is second
    assert came.target == "10.0.0.3:8001"
    assert first not in one.clients


async def test_a_name_server_that_is_away_or_says_nothing_takes_no_triton_along() -> None:
    names = Names(tritons=["10.0.0.1"])
    one = discovery(names, "dns:///tritons:8001")
    before = await one.look()
    names.away = True
    assert await one.look() == before
    names.away = False
    names.addresses["tritons"] = []
    assert await one.look() == before


async def test_an_address_of_two_names_is_one_triton() -> None:
    names = Names(a=["10.0.0.1"], b=["10.0.0.1", "10.0.0.2"])
    one = discovery(names, "dns:///a:1", "dns:///b:1", "10.0.0.2:1")
    found = await one.look()
    assert sorted(targets(found)) == ["10.0.0.1:1", "10.0.0.2:1"]
