from __future__ import annotations

from pathlib import Path

import pytest

from gateway.live_settings import LIVE, changed, followed, live_names, tell_workers, with_live
from gateway.settings import InvalidSettings, Settings
from gateway.supervising.reloading import Reloading, checked, telling


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TRIDENT_{name.upper()}", raising=False)


def settings(**given: object) -> Settings:
    return Settings(**{"triton": ("127.0.0.1:1",)} | given)  # type: ignore[arg-type]


def test_every_live_setting_is_a_setting() -> None:
    assert set(Settings.model_fields) >= LIVE


def test_what_differs_is_named() -> None:
    old, new = settings(), settings(trace_sample_ratio=0.5, max_in_flight=1)
    assert changed(old, old) == []
    assert sorted(changed(old, new)) == ["max_in_flight", "trace_sample_ratio"]


def test_only_live_settings_take_effect() -> None:
    old, new = settings(), settings(trace_sample_ratio=0.5, max_in_flight=1)
    mixed = with_live(old, new)
    assert (mixed.trace_sample_ratio, mixed.max_in_flight) == (0.5, old.max_in_flight)


def test_whether_calls_need_credentials_at_all_needs_a_restart() -> None:
    old, new = settings(), settings(keys_file="keys.yaml")
    assert "keys_file" not in live_names(old, new)
    assert with_live(old, new).keys_file is None
    assert "keys_file" in live_names(new, settings(keys_file="other.yaml"))


TOKENS = {"jwt_keys": "jwks.json", "jwt_issuer": "i", "jwt_audience": ("a",)}
MUTUAL = {"tls_certificate": "c", "tls_key": "k", "tls_client_ca": "ca"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (TOKENS | {"permissions_file": "p"}, {}),
        ({}, TOKENS),
        ({"keys_file": "keys.yaml"}, {}),
        # Both ask for credentials, but the certificate's authority needs a restart.
        ({"keys_file": "keys.yaml"}, MUTUAL),
    ],
)
def test_who_may_call_changes_whole_or_not_at_all(
    before: dict[str, object], after: dict[str, object]
) -> None:
    old, new = settings(**before), settings(**after, call_timeout_s=5)
    reloading = Reloading(old, lambda: new)
    assert reloading.reload()
    in_force = reloading.current
    assert Settings.model_validate_json(in_force.model_dump_json()) == in_force
    assert in_force.asks_for_credentials == old.asks_for_credentials
    assert in_force.call_timeout_s == 5
    who = {name: getattr(in_force, name) for name in (*TOKENS, *MUTUAL, "keys_file")}
    assert who == {name: getattr(old, name) for name in who}


def test_new_settings_that_do_not_go_with_the_old_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.live_settings.LIVE", LIVE | {"require_signed"})
    said: list[str] = []
    before = settings()
    new = settings(require_signed=True, public_key="key.pem", call_timeout_s=5)
    reloading = Reloading(before, lambda: new, said.append)
    assert not reloading.reload()
    assert reloading.current is before
    assert said == [
        "The settings stay as they were. "
        "require_signed: needs public_key, to check the signatures with"
    ]


def test_workers_find_what_the_supervisor_wrote_even_before_they_looked(tmp_path: Path) -> None:
    got: list[Settings] = []
    tell_workers(tmp_path, settings(trace_sample_ratio=0.25))
    watched = followed(tmp_path, [got.append])
    assert watched.look()
    tell_workers(tmp_path, settings(trace_sample_ratio=0.125))
    assert watched.look()
    assert not watched.look()
    assert [one.trace_sample_ratio for one in got] == [0.25, 0.125]
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]
    assert (tmp_path / "settings.json").stat().st_mode & 0o077 == 0


def test_what_one_cannot_apply_keeps_no_other_from_its_settings_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError("the keys cannot be fetched"), OSError("and not yet")]
    got: list[Settings] = []

    def fail_twice(new: Settings) -> None:
        if failures:
            raise failures.pop(0)

    tell_workers(tmp_path, settings(call_timeout_s=5))
    watched = followed(tmp_path, [fail_twice, fail_twice, got.append])
    watched.again_s = 1e-9
    assert not watched.look()
    assert [one.call_timeout_s for one in got] == [5]
    assert "the keys cannot be fetched; and not yet" in caplog.text
    assert watched.look()
    assert not watched.look()


def test_a_worker_without_news_applies_nothing(tmp_path: Path) -> None:
    assert not followed(tmp_path, [pytest.fail]).look()


def test_reloading_says_what_has_changed_and_what_needs_a_restart() -> None:
    said: list[str] = []
    new = settings(trace_sample_ratio=0.5, listen="127.0.0.1:7")
    reloading = Reloading(settings(), lambda: new, said.append)
    assert reloading.reload()
    assert reloading.current.trace_sample_ratio == 0.5
    assert reloading.current.listen == "127.0.0.1:50051"
    assert said == ["Settings read anew: trace_sample_ratio. Needs a restart: listen."]
    assert not reloading.reload()
    assert said[-1] == (
        "Settings read anew: nothing has changed that may. Needs a restart: listen."
    )


def test_settings_that_cannot_be_used_change_nothing_and_all_that_is_wrong_is_said() -> None:
    said: list[str] = []

    def reread() -> Settings:
        raise InvalidSettings({"listen": "must be HOST:PORT", "grace_s": "too small"})

    before = settings()
    reloading = Reloading(before, reread, said.append)
    assert not reloading.reload()
    assert reloading.current is before
    assert said == ["The settings stay as they were. listen: must be HOST:PORT; grace_s: too small"]


def test_settings_that_name_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    reread = checked(lambda: settings(keys_file=tmp_path / "none.yaml"))
    with pytest.raises(InvalidSettings) as refused:
        reread()
    assert refused.value.violations.keys() == {"keys_file"}


def test_workers_are_told_only_if_something_took_effect(tmp_path: Path) -> None:
    now = [settings()]
    reload = telling(Reloading(settings(), lambda: now[0]), tmp_path, lambda whole: whole)
    reload()
    assert list(tmp_path.iterdir()) == []
    now[0] = settings(call_timeout_s=5)
    reload()
    assert "settings.json" in {path.name for path in tmp_path.iterdir()}
