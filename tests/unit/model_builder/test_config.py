from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from model_builder.config import read_config
from model_builder.errors import ConfigInvalid
from model_builder.task import TaskConfig


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    share: float = 0.5
    name: str = "a"


class Config(TaskConfig):
    epochs: int = Field(default=3, ge=1)
    rate: float = 0.1
    shuffle: bool = True
    name: str = "net"
    limit: int | None = 5
    widths: tuple[int, ...] = (8,)
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("epochs=7", "epochs", 7),
        ("rate=1e-3", "rate", 0.001),
        ("shuffle=false", "shuffle", False),
        ("name=5", "name", "5"),
        ("name=a=b", "name", "a=b"),
        ("name=", "name", ""),
        ("limit=null", "limit", None),
        ("widths=[4, 2]", "widths", (4, 2)),
        ("inner.share=0.2", "inner", Inner(share=0.2)),
    ],
)
def test_a_setting_is_read_as_its_type(setting: str, key: str, value: object) -> None:
    assert getattr(read_config(Config, settings=[setting]), key) == value


@pytest.mark.parametrize(
    "text", ["epochs: 9\ninner: {name: b}\n", '{"epochs": 9, "inner": {"name": "b"}}']
)
def test_settings_override_the_file_and_the_seed_overrides_both(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    config = read_config(Config, file, ["rate=1", "inner.share=0.1", "seed=4"], seed=5)
    assert (config.epochs, config.rate, config.seed) == (9, 1.0, 5)
    assert config.inner == Inner(share=0.1, name="b")


def test_nothing_given_is_the_default(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.touch()
    assert read_config(Config, empty) == read_config(Config) == Config()


def test_names_every_fault_at_once() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read_config(Config, settings=["epochs=0", "rate=fast", "epoch=3", "inner.shape=1"])
    assert len(caught.value.faults) == 4
    message = str(caught.value)
    assert "epochs: input should be greater than or equal to 1, found '0'" in message
    assert "rate: input should be a valid number" in message
    assert "epoch: there is no such key; did you mean epochs?" in message
    assert "inner.shape: there is no such key" in message


def test_a_nested_key_is_told_what_is_beside_it() -> None:
    with pytest.raises(ConfigInvalid, match=r"did you mean training\.optimizer"):
        read_config(Config, settings=["training.optimzer=lion"])


def test_a_key_like_no_other_gets_the_list() -> None:
    with pytest.raises(ConfigInvalid, match="keys are seed, training, epochs, rate"):
        read_config(Config, settings=["zzz=1"])


@pytest.mark.parametrize("setting", ["epochs", "=3", "."])
def test_a_setting_needs_key_and_value(setting: str) -> None:
    with pytest.raises(ConfigInvalid, match="must be KEY=VALUE"):
        read_config(Config, settings=[setting])


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"- 1\n", "must hold a mapping"), (b"a: [", "expected"), (b"\xff", "decode")],
    ids=["list", "syntax", "binary"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, fault: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigInvalid, match=fault) as caught:
        read_config(Config, file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
