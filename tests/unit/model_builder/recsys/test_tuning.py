from __future__ import annotations

import pytest

from model_builder.progress import SilentProgress
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import leave_one_out, load_interactions
from model_builder.recsys.fitting import fit_network
from model_builder.recsys.tuning import TUNING
from model_builder.task import ResolvedData

CONFIG = RecsysConfig(epochs=2, width=8, history_length=4, negatives=0, neighbours=0)


@pytest.fixture
def data(tmp_path) -> ResolvedData:
    path = tmp_path / "log.csv"
    rows = [f"u{user},i{(user + t) % 9},{t}" for user in range(12) for t in range(6)]
    path.write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    return ResolvedData("log.csv", path, "")


def test_a_trial_is_measured_by_what_chose_the_epoch(data):
    watched = []
    value = TUNING.prepare(data, CONFIG, SilentProgress())(
        CONFIG, lambda epoch, validation: watched.append((epoch, validation))
    )
    assert [epoch for epoch, _ in watched] == [0, 1]
    assert value == max(validation for _, validation in watched)


def test_the_last_item_of_each_user_is_left_behind(data, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "model_builder.recsys.tuning.fit_network",
        lambda splits, *rest: seen.append(splits) or fit_network(splits, *rest),
    )
    TUNING.prepare(data, CONFIG, SilentProgress())(CONFIG, lambda epoch, validation: None)
    whole = leave_one_out(load_interactions(data.path).sequences, "log.csv")
    assert len(seen[0].test) == 0
    assert len(whole.test) == len(seen[0].validation) == 12
