from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.security.errors import Refused, UnusableFile
from gateway.security.keys import KeyEntry, KeyFile, Keys, new_key, read_keys, write_keys
from gateway.security.permissions import Methods

METHODS = Methods(("trident.risk.v1.RiskService/ScoreRisk",))
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def test_a_key_says_whose_it_is_and_what_it_permits() -> None:
    key, entry = new_key("billing", ["risk"])
    client = Keys(KeyFile(keys=(entry,)), METHODS).client(key, NOW.timestamp())
    assert (client.id, client.methods) == ("key:billing", frozenset(METHODS.names))


def test_no_two_keys_are_alike_and_none_can_be_read_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    made = [new_key("billing", ["risk"]) for _ in range(50)]
    write_keys(path, KeyFile(keys=tuple(entry for _, entry in made)))
    text = path.read_text()
    assert len({key for key, _ in made}) == 50
    assert not any(key in text or key.split("_", 2)[2] in text for key, _ in made)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("change", [str.upper, lambda key: key[:-1], lambda key: key + "x"])
def test_nearly_a_key_is_none(change: object) -> None:
    key, entry = new_key("billing", ["risk"])
    keys = Keys(KeyFile(keys=(entry,)), METHODS)
    with pytest.raises(Refused) as refused:
        keys.client(change(key), 0)  # type: ignore[operator]
    assert key.split("_", 2)[2][:8] not in str(refused.value)


@pytest.mark.parametrize("key", ["", "x" * 10_000, "ключ", "trident_0000000000_" + "a" * 43])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(Refused):
        Keys(KeyFile(), METHODS).client(key, 0)


def test_the_log_names_a_key_that_was_revoked_by_its_id() -> None:
    key, entry = new_key("billing", ["risk"])
    with pytest.raises(Refused, match=f"no such key: {entry.id}$"):
        Keys(KeyFile(), METHODS).client(key, 0)


def test_a_key_expires() -> None:
    key, entry = new_key("billing", ["risk"], NOW)
    keys = Keys(KeyFile(keys=(entry,)), METHODS)
    assert keys.client(key, (NOW - timedelta(seconds=1)).timestamp()).name == "billing"
    with pytest.raises(Refused, match="key:billing has expired"):
        keys.client(key, NOW.timestamp())


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    _, one = new_key("billing", ["risk"], NOW)
    _, other = new_key("a.b@c/d-e", ["*"])
    write_keys(path, KeyFile(keys=(one, other)))
    assert read_keys(path, METHODS).keys == (one, other)
    assert [file.name for file in tmp_path.iterdir()] == ["keys.yaml"]


def test_an_empty_file_knows_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("")
    assert read_keys(path, METHODS).keys == ()


def test_everything_wrong_with_a_file_is_said_and_no_hash_quoted(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(
        "keys:\n"
        "- {id: xyz, client: '', sha256: hush, permissions: [], created: 2026-01-01T00:00:00}\n"
        "extra: hush\n"
    )
    with pytest.raises(UnusableFile) as refused:
        read_keys(path, METHODS)
    assert refused.value.violations.keys() == {
        "keys.0.id", "keys.0.client", "keys.0.sha256", "keys.0.permissions", "extra"
    }  # fmt: skip
    assert "hush" not in str(refused.value)


def test_times_without_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="needs its zone"):
        KeyEntry(
            id="0" * 10,
            client="a",
            sha256="0" * 64,
            permissions=("*",),
            created=datetime(2026, 1, 1),
        )


def test_ids_that_repeat_and_patterns_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    _, entry = new_key("billing", ["risks"])
    write_keys(path, KeyFile(keys=(entry, entry)))
    with pytest.raises(UnusableFile) as refused:
        read_keys(path, METHODS)
    assert refused.value.violations == {
        f"keys.{entry.id}": "is there twice",
        f"keys.{entry.id}.permissions": "permits nothing: risks; domains are risk",
    }


@pytest.mark.parametrize("text", ["keys: [", "\x00", "- hush: *x"])
def test_what_is_no_yaml_is_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(UnusableFile, match="is not YAML") as refused:
        read_keys(path, METHODS)
    assert "hush" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="No such file"):
        read_keys(tmp_path / "keys.yaml", METHODS)


def test_writing_keeps_the_mode_and_leaves_the_old_if_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("keys: []\n")
    path.chmod(0o640)
    write_keys(path, KeyFile())
    assert path.stat().st_mode & 0o777 == 0o640
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            write_keys(path, KeyFile(keys=(new_key("a", ["*"])[1],)))
    assert read_keys(path, METHODS).keys == ()
    assert [file.name for file in tmp_path.iterdir()] == ["keys.yaml"]
