from __future__ import annotations

from pathlib import Path

import pytest

from gateway.security.hiding import without_secrets
from gateway.serving import _place, _traces
from gateway.settings import Settings
from gateway.starting import StartFailed
from gateway.telemetry.collector_address import UnknownCollector, collector_address
from gateway.worker import Worker


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:hush@a.test:1/p?token=hush&x=1#f", "https://…@a.test:1/p?token=…&x=…#f"),
        ("s3://key:hush@bucket/x", "s3://…@bucket/x"),
        ("https://a.test/p", "https://a.test/p"),
        ("127.0.0.1:4317", "127.0.0.1:4317"),
        ("a@b", "a@b"),
    ],
)
def test_a_url_is_shown_without_what_only_its_owner_knows(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TRIDENT_{name.upper()}", raising=False)
    return Settings(
        triton=("127.0.0.1:1",),
        store="s3://user:hush@bucket",
        otlp_endpoint="gopher://user:hush@collector",
    )


def test_what_people_are_told_at_the_start_has_no_secret(settings: Settings) -> None:
    assert _place(settings.store) == "s3://…@bucket"
    assert _traces(settings) == "gopher://…@collector"


async def test_why_there_is_no_start_has_no_secret(settings: Settings, tmp_path: Path) -> None:
    worker = Worker(settings.model_copy(update={"store": str(tmp_path)}), 0, "g-0", tmp_path)
    with pytest.raises(StartFailed) as failed:
        async with worker.core():
            pass
    assert "collector" in str(failed.value)
    assert "hush" not in str(failed.value)


@pytest.mark.parametrize("endpoint", ["http://user:hush@a:b", "http://user:hush@[a"])
def test_an_address_that_cannot_be_read_is_not_quoted_whole(endpoint: str) -> None:
    with pytest.raises(UnknownCollector) as refused:
        collector_address("traces", {}, endpoint)
    assert "hush" not in str(refused.value)
