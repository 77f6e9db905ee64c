from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from model_builder.progress import SilentProgress
from model_builder.terminal import TerminalProgress


def progress_on(terminal: bool) -> tuple[TerminalProgress, io.StringIO]:
    file = io.StringIO()
    return TerminalProgress(Console(file=file, force_terminal=terminal, width=120)), file


def test_elsewhere_than_on_a_terminal_each_stage_is_one_plain_line() -> None:
    progress, file = progress_on(terminal=False)
    with progress.stage("train", 3) as stage:
        assert file.getvalue() == ""
        stage.advance(2, "loss 0.5")
        stage.advance()
    with progress.stage("publish"):
        pass
    first, second = file.getvalue().splitlines()
    assert first.startswith("train: ")
    assert first.endswith(" s, 3 of 3, loss 0.5")
    assert second.startswith("publish: ")
    assert "\x1b" not in file.getvalue()


def test_on_a_terminal_each_stage_is_a_bar() -> None:
    progress, file = progress_on(terminal=True)
    with progress.stage("train", 3) as stage:
        stage.advance(3, "loss 0.5")
    assert "train" in file.getvalue()
    assert "3/3" in file.getvalue()
    assert "loss 0.5" in file.getvalue()


def test_a_stage_of_unknown_length_ends_full() -> None:
    progress, file = progress_on(terminal=True)
    with progress.stage("publish"):
        pass
    assert "1/1" in file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_stages_may_lie_in_each_other_and_follow_each_other(terminal: bool) -> None:
    progress, file = progress_on(terminal)
    for _ in range(2):
        with progress.stage("outer", 1), progress.stage("inner", 1) as stage:
            stage.advance()
    assert "inner" in file.getvalue()


def test_a_stage_that_fails_does_not_spoil_the_next() -> None:
    progress, file = progress_on(terminal=True)
    with pytest.raises(KeyError), progress.stage("first"):
        raise KeyError
    with progress.stage("second"):
        pass
    assert "second" in file.getvalue()


def test_what_is_said_is_not_read_as_markup() -> None:
    progress, file = progress_on(terminal=False)
    progress.say("[red] is a column")
    assert file.getvalue() == "[red] is a column\n"


def test_silence_shows_nothing(capsys) -> None:
    progress = SilentProgress()
    with progress.stage("train", 3) as stage:
        stage.advance(1, "loss")
    progress.say("text")
    assert capsys.readouterr() == ("", "")


def test_elsewhere_a_stage_that_takes_long_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress, file = progress_on(terminal=False)
    monkeypatch.setattr("model_builder.terminal._TOLD_EVERY_S", 0.0)
    with progress.stage("train", 3) as stage:
        stage.advance(2, "epoch 1")
    assert re.match(r"train: so far \d+\.\d s, 2 of 3, epoch 1\ntrain: \d", file.getvalue())
