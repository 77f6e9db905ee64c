"""How long it was from one interaction to the next: from the log to the network and to requests."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_builder.errors import ConfigInvalid, DataFault
from model_builder.export.chain import StepChain
from model_builder.export.fused import FusedModel, fuse
from model_builder.export.onnx import serialised
from model_builder.progress import SilentProgress
from model_builder.recsys.asking import EarlierRelease
from model_builder.recsys.comparing import compare_models
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import Interactions, Sequences, leave_one_out
from model_builder.recsys.encode_graph import encode_graph
from model_builder.recsys.evaluation import next_item_scores, of_alike_lengths
from model_builder.recsys.exporting import export_steps
from model_builder.recsys.moments import asked_moments, with_gaps
from model_builder.recsys.ordering import with_items
from model_builder.recsys.pruning import narrowed
from model_builder.recsys.rank_fitting import training_questions
from model_builder.recsys.reference import Reference, next_item_logits
from model_builder.recsys.request_tensors import Request, request_tensors
from model_builder.recsys.shortlists import FirstStage, queries
from model_builder.recsys.task import TASK
from model_builder.recsys.time_gaps import GAPS, numbered
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.recsys.warm_start import sized_like
from model_builder.recsys.weights import read_weights, weights_file
from model_builder.recsys.windows import WindowBatches
from model_builder.task import ResolvedData, StepModel
from triton_models.signatures import RECOMMEND

LENGTH = 6
NOON = 1_800_000_000


@pytest.fixture(scope="module")
def timed(make_network) -> NextItemNetwork:
    network = make_network(time_gaps=True)
    with torch.no_grad():
        network.gaps.weight[1:].normal_()
    return network


@pytest.fixture(scope="module")
def encode(item_ids) -> StepChain:
    graph = encode_graph(item_ids, LENGTH, time_gaps=True)
    return StepChain([StepModel("encode", "pre", graph)])


@pytest.fixture
def log() -> Interactions:
    """Two users; the second had something at a time that is no moment, and came back at once."""
    times = [NOON, NOON, NOON + 1, NOON + 70, NOON + 86_400, 5, -3, 7, 4, 9]
    sequences = Sequences.of([np.arange(1, 6), np.arange(2, 7)])
    ids = tuple(f"i{number}" for number in range(1, 8))
    return Interactions(ids, sequences, times=np.array(times, np.float64))


def test_gaps_are_numbered_by_powers_of_two():
    seconds = np.array([0, 1, 2, 3, 4, 59, 60, 2**28, 2**29, 2**40])
    numbers = numbered(np.full(len(seconds), NOON), NOON + seconds)
    assert numbers.tolist() == [1, 2, 3, 3, 4, 7, 7, 30, 31, 31]
    assert numbers.max() == GAPS - 1
    assert numbered(np.array([NOON, 0, NOON]), np.array([0, NOON, NOON - 9])).tolist() == [0, 0, 1]


def test_each_item_knows_the_gap_to_its_users_next(log):
    runs = with_gaps(log, "log.csv").sequences
    assert [runs.gaps_of(user).tolist() for user in range(2)] == [[1, 2, 8, 18, 0], [0, 0, 1, 4, 0]]
    grown = with_items(with_gaps(log, "log.csv"), ["a"]).sequences
    assert grown.gaps.tolist() == runs.gaps.tolist()


def test_gaps_go_with_the_items_through_splits_windows_and_questions(log):
    timed = with_gaps(log, "log.csv")
    splits = leave_one_out(timed.sequences, "log.csv")
    # The newest of a history is followed by the target: that is when the question is asked.
    assert splits.test.histories.gaps_of(0).tolist() == [1, 2, 8, 18]
    assert splits.validation.histories[:1].gaps_of(0).tolist() == [1, 2, 8]
    (batch,) = WindowBatches(splits.training, LENGTH, 4, seed=0)(0)
    assert sorted(batch["gaps"].tolist()) == [[0, 0], [1, 2]]
    assert batch["gaps"].dtype == torch.int64
    learnt = training_questions(splits.training, seed=0).histories
    assert [learnt.gaps_of(row).tolist() for row in range(2)] == [[1], [1, 2]]
    (alike,) = of_alike_lengths(splits.test.histories, 3)
    assert sorted(alike.gaps.tolist()) == [[0, 1, 4], [2, 8, 18]]


def test_a_question_is_asked_when_its_target_was_had(log):
    timed = with_gaps(log, "log.csv")
    asked = leave_one_out(timed.sequences, "log.csv").test
    assert list(asked_moments(timed, asked)) == [
        ([NOON, NOON, NOON + 1, NOON + 70], NOON + 86_400),
        ([5, 0, 7, 4], 9),
    ]
    untold = leave_one_out(log.sequences, "log.csv").test
    assert list(asked_moments(log, untold)) == [((), 0)] * 2


def test_a_log_without_times_is_refused_by_the_settings_name(write_log):
    path = write_log("u1 a b c d\nu2 b c d a\n", "sequences.txt")
    with pytest.raises(DataFault, match="time_gaps=true"):
        TASK.build(ResolvedData("log", path, ""), RecsysConfig(time_gaps=True), SilentProgress())


def test_a_network_begins_as_one_that_reads_no_times(make_network):
    plain, new = make_network(), make_network(time_gaps=True)
    new.load_state_dict({**new.state_dict(), **plain.state_dict()})
    history, gaps = torch.tensor([[0, 3, 1, 4, 2, 5]]), torch.tensor([[0, 1, 9, 2, 31, 7]])
    torch.testing.assert_close(new(history, gaps=gaps), plain(history))


def test_what_is_not_known_is_read_as_nothing(timed):
    history = torch.tensor([[0, 3, 1, 4, 2, 5]])
    torch.testing.assert_close(timed(history, gaps=torch.zeros_like(history)), timed(history))
    assert not torch.allclose(timed(history, gaps=(history > 0).long()), timed(history))


def test_a_gap_changes_nothing_before_it(timed):
    history, gaps = torch.tensor([[6, 3, 1, 4, 2, 5]]), torch.tensor([[1, 2, 3, 4, 5, 6]])
    later = gaps.clone()
    later[0, 4] = 20
    before, after = timed.states(history, gaps), timed.states(history, later)
    torch.testing.assert_close(after[0, :4], before[0, :4])
    assert not torch.allclose(after[0, 4], before[0, 4])


def test_training_hides_some_gaps_and_some_histories_whole(timed):
    torch.manual_seed(0)
    gaps = torch.ones(2000, 50, dtype=torch.int64)
    timed.train()
    seen = timed._partly_hidden(gaps).float().mean(1)
    timed.eval()
    assert (seen == 0).float().mean() == pytest.approx(0.1, abs=0.03)
    assert seen[seen > 0].mean() == pytest.approx(0.9, abs=0.01)
    assert timed._partly_hidden(gaps) is gaps


@torch.no_grad()
def test_begun_and_ended_histories_are_read_alike(timed, log):
    histories = leave_one_out(with_gaps(log, "log.csv").sequences, "log.csv").test.histories
    gaps = [histories.gaps_of(row) for row in range(2)]
    expected = next_item_logits(timed, histories, gaps)
    np.testing.assert_allclose(next_item_scores(timed, histories), expected, atol=1e-5)
    assert not np.allclose(next_item_logits(timed, histories), expected)
    first = FirstStage(timed, 12)
    scores = queries(first, histories) @ first.table.flat.T
    np.testing.assert_allclose(scores[:, 1:], expected[:, 1:], atol=1e-5)


moments = st.sampled_from([0, 1, NOON]) | st.integers(NOON, NOON + 2**31)
rows = st.lists(
    st.tuples(st.sampled_from(["", "nobody's", "i1", "i2", "i7", "i12"]), moments), max_size=9
)


@settings(max_examples=60, deadline=None)
@given(asked=st.lists(st.tuples(rows, moments), min_size=1, max_size=3))
def test_the_graph_numbers_gaps_between_the_newest_known_items(asked, encode, item_ids):
    """Worked out here from what is sent, apart from all that does it."""
    requests = [
        Request([item for item, _ in row], times=[time for _, time in row], asked_at=at)
        for row, at in asked
    ]
    made = encode.run(request_tensors(requests, time_gaps=True))["history_gaps"]
    for found, (row, at) in zip(made.tolist(), asked, strict=True):
        known = [time for item, time in row if item in item_ids][-LENGTH:]
        wanted = [
            0 if not (before and after) else 1 + sum(after - before >= 2**n for n in range(30))
            for before, after in pairwise([*known, at])
        ]
        assert found == [0] * (LENGTH - len(wanted)) + wanted


REQUESTS = [
    Request(["i1", "i4", "nobody's", "i2"], times=[NOON, NOON + 5, NOON + 6, NOON + 900],
            asked_at=NOON + 90_000),
    Request(["i1", "i4", "nobody's", "i2"], times=[NOON, NOON + 5, NOON + 6, NOON + 900]),
    Request(["i1", "i4", "nobody's", "i2"]),
    Request([f"i{n}" for n in range(1, 10)], times=range(NOON, NOON + 9), asked_at=NOON),
    Request(asked_at=NOON),
]  # fmt: skip


def test_both_variants_read_times_like_the_reference_also_once_they_are_old(
    timed, learned_ranker, item_ids, log, tmp_path
):
    first = FirstStage(timed, 8)
    ranker = learned_ranker(first)
    steps = export_steps(first, ranker, item_ids)
    reference = Reference(timed, ranker, item_ids, 8)
    models = [StepChain(steps), FusedModel(steps, RECOMMEND)]
    answers, parity = compare_models(models, reference, REQUESTS)
    assert len(parity) == 2
    # The same items at other times are answered otherwise.
    assert len({tuple(row) for row in answers["scores"][:3].tolist()}) == 3

    fused = tmp_path / "model.onnx"
    fused.write_bytes(serialised(fuse(steps, RECOMMEND)))
    earlier = EarlierRelease("recommend/r1", fused)
    widened = with_gaps(with_items(log, item_ids), "log.csv")
    asked = leave_one_out(widened.sequences, "log.csv").test
    told = [
        Request(widened.ids(items), item_count=100, times=times, asked_at=at)
        for items, (times, at) in zip(asked.histories, asked_moments(widened, asked), strict=True)
    ]
    lists = reference.answer(told)["item_ids"].tolist()
    expected = [
        row.index(target) + 1 if target in row else len(item_ids)
        for row, target in zip(lists, widened.ids(asked.targets), strict=True)
    ]
    assert earlier.ranks(widened, asked).tolist() == expected


def test_weights_say_whether_times_are_read_and_other_ones_are_refused(timed, network):
    ids = tuple(f"i{number}" for number in range(1, 13))
    with_times = read_weights("recommend/old", weights_file(timed, ids))
    assert with_times.sizes["time_gaps"]
    assert sized_like(RecsysConfig(), with_times, "recommend/old").time_gaps
    told, content = b', \\"time_gaps\\": false', weights_file(network, ids)
    assert told in content
    before = read_weights("recommend/older", content.replace(told, b" " * len(told)))
    assert before.sizes["time_gaps"] is False
    with pytest.raises(ConfigInvalid, match="time_gaps: recommend/older has False"):
        sized_like(RecsysConfig(time_gaps=True), before, "recommend/older")


def test_a_narrowed_network_keeps_its_gaps(make_network):
    network = make_network(width=32, time_gaps=True)
    with torch.no_grad():
        network.gaps.weight[1:].normal_()
    kept = narrowed(network, 16)["gaps.weight"]
    assert kept.shape == (GAPS, 16)
    assert set(kept[1].tolist()) <= set(network.gaps.weight[1].tolist())
