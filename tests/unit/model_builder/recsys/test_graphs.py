"""The exported steps, asked like Triton asks them, against the reference and against the rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_builder.export.chain import StepChain
from model_builder.export.ensemble import write_models
from model_builder.export.shapes import ranges_of
from model_builder.recsys.comparing import TOLERANCES, settle_ties
from model_builder.recsys.decode_graph import decode_graph
from model_builder.recsys.encode_graph import encode_graph
from model_builder.recsys.exporting import export_steps
from model_builder.recsys.filter_graph import filter_graph
from model_builder.recsys.item_table import ItemTable
from model_builder.recsys.ranking import OUTPUTS, Ranker
from model_builder.recsys.reference import Reference
from model_builder.recsys.request_tensors import Request, Tensors, padded, request_tensors
from model_builder.recsys.retrieve_graph import retrieve_graph
from model_builder.recsys.shortlists import FirstStage
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.task import StepModel
from model_builder.tensorrt.readiness import readiness
from triton_models.signatures import MAX_ITEMS, RECOMMEND

LENGTH = 6
SHORTLIST = 200
MakeRanker = Callable[..., Ranker]
UNKNOWN = ("nobody's", "I1", "i01")


@pytest.fixture(scope="module")
def first(network: NextItemNetwork) -> FirstStage:
    return FirstStage(network, SHORTLIST)


@pytest.fixture(scope="module")
def steps(
    first: FirstStage, learned_ranker: MakeRanker, item_ids: tuple[str, ...]
) -> tuple[StepModel, ...]:
    return export_steps(first, learned_ranker(first), item_ids)


@pytest.fixture(scope="module")
def chain(steps: tuple[StepModel, ...]) -> StepChain:
    return StepChain(steps)


@pytest.fixture(scope="module")
def encode(item_ids: tuple[str, ...]) -> StepChain:
    return StepChain([StepModel("encode", "pre", encode_graph(item_ids, LENGTH))])


@pytest.fixture(scope="module")
def reference(
    network: NextItemNetwork,
    first: FirstStage,
    learned_ranker: MakeRanker,
    item_ids: tuple[str, ...],
) -> Reference:
    return Reference(network, learned_ranker(first), item_ids, SHORTLIST)


Ask = Callable[..., list[str]]


@pytest.fixture(scope="module")
def ask(chain: StepChain) -> Ask:
    """Ask for one row and get its item IDs, without the empty places at the end."""

    def ask(history: Sequence[str] = (), **more: object) -> list[str]:
        row = chain.run(request_tensors([Request(history, **more)]))["item_ids"][0].tolist()
        given = [item_id for item_id in row if item_id]
        assert row == given + [""] * (len(row) - len(given))
        return given

    return ask


ids = st.sampled_from(["", *UNKNOWN, *(f"i{number}" for number in range(1, 13))])
texts = st.lists(ids, max_size=15)
requests = st.builds(
    Request,
    history=texts,
    candidates=texts,
    excluded=texts,
    history_allowed=st.booleans(),
    item_count=st.integers(1, MAX_ITEMS),
)


@settings(max_examples=60, deadline=None)
@given(asked=st.lists(requests, min_size=1, max_size=4))
def test_the_steps_answer_like_the_reference(asked, chain, reference):
    expected = reference.answer(asked)
    actual = settle_ties(reference, asked, expected, chain.run(request_tensors(asked)))
    for spec in RECOMMEND.outputs:
        if spec.optional:
            continue
        assert actual[spec.name].shape == expected[spec.name].shape
        assert actual[spec.name].dtype == spec.dtype
    np.testing.assert_allclose(actual["scores"], expected["scores"], atol=TOLERANCES["scores"])
    for name in TOLERANCES.keys() - {"scores", "input_rules"}:
        assert actual[name].tolist() == expected[name].tolist(), name


@settings(max_examples=60, deadline=None)
@given(histories=st.lists(texts, min_size=1, max_size=3), padding=st.integers(0, 3))
def test_a_history_is_compacted_to_its_newest_known_items(histories, padding, encode, item_ids):
    numbers = {item_id: number for number, item_id in enumerate(item_ids, 1)}
    tensors = request_tensors([Request(history) for history in histories])
    rows = len(histories)
    tensors["history_item_ids"] = np.concatenate(
        [np.full((rows, padding), "", object), padded(histories)], axis=1
    )
    made = encode.run(tensors)
    for row, sent in enumerate(tensors["history_item_ids"].tolist()):
        known = [(numbers[item], place) for place, item in enumerate(sent) if item in numbers]
        newest = known[-LENGTH:]
        empty = LENGTH - len(newest)
        assert made["history"][row].tolist() == [0] * empty + [item for item, _ in newest]
        assert made["history_positions"][row].tolist() == (
            [-1] * empty + [place for _, place in newest]
        )
        assert made["history_known"][row].tolist() == [
            item == "" or item in numbers for item in sent
        ]


def test_a_row_is_answered_the_same_alone_and_in_a_batch(chain):
    asked = [
        Request(["i1", "i2", "i3"], item_count=5),
        Request(["i4"], ["i5", "i6", "i7"], item_count=2),
        Request([f"i{number}" for number in range(1, 11)], excluded=["i11"], item_count=9),
    ]
    together = chain.run(request_tensors(asked))
    assert together["item_ids"].shape == (3, 9)
    for row, request in enumerate(asked):
        alone = chain.run(request_tensors([request]))
        count = request.item_count
        assert alone["item_ids"].shape == (1, count)
        assert together["item_ids"][row, :count].tolist() == alone["item_ids"][0].tolist()
        assert (together["item_ids"][row, count:] == "").all()
        for name in ("scores", "because_positions"):
            np.testing.assert_allclose(together[name][row, :count], alone[name][0], atol=1e-6)


def test_only_known_candidates_are_recommended(ask):
    assert sorted(ask(["i1"], candidates=["i3", "nobody's", "i2", "i3"])) == ["i2", "i3"]


def test_candidates_that_are_all_unknown_recommend_nothing(chain):
    made = chain.run(request_tensors([Request(["i1"], candidates=["nobody's"])]))
    assert set(made["item_ids"][0]) == {""}
    assert not made["scores"].any()
    assert (made["because_positions"] == -1).all()


def test_the_history_and_the_excluded_never_come(ask):
    given = ask(["i1", "i2"], excluded=["i3", "nobody's"], item_count=100)
    assert sorted(given) == sorted(f"i{number}" for number in range(4, 13))


def test_the_history_may_come_again_where_it_is_allowed_and_not_excluded(ask):
    given = ask(["i1", "i2"], excluded=["i2"], history_allowed=True, item_count=100)
    assert "i1" in given
    assert "i2" not in given


def test_items_older_than_the_network_reads_are_left_out_too(ask, item_ids):
    history = list(item_ids[:11])
    assert len(history) > LENGTH
    assert ask(history, item_count=100) == [item_ids[11]]


def test_an_excluded_candidate_is_not_recommended(ask):
    assert ask(candidates=["i1", "i2"], excluded=["i1"]) == ["i2"]


@pytest.mark.parametrize("history", [[], ["", ""], ["nobody's", ""]])
def test_without_a_known_history_the_most_popular_come_first(history, ask, network, item_ids):
    popularity = network.popularity[1:].numpy()
    by_popularity = [item_ids[place] for place in np.argsort(-popularity, kind="stable")]
    assert ask(history, item_count=100) == by_popularity


def test_scores_share_out_one_among_what_may_be_recommended(chain):
    made = chain.run(request_tensors([Request(["i1"], ["i2", "i3", "i4"], item_count=3)]))
    assert made["scores"].sum() == pytest.approx(1, abs=1e-6)
    assert (np.diff(made["scores"]) <= 0).all()


def test_because_names_the_most_similar_items_of_the_history_as_sent(chain, network, item_ids):
    history = ["i9", "nobody's", "", "i2", "i7", "i2"]
    made = chain.run(request_tensors([Request(history, item_count=3)]))
    directions = torch.nn.functional.normalize(network.items.weight.detach(), dim=1).numpy()
    for item_id, positions in zip(
        made["item_ids"][0], made["because_positions"][0].tolist(), strict=True
    ):
        item = directions[item_ids.index(item_id) + 1]
        # i2 stands twice and is named once, where it is newest.
        likeness = {p: float(item @ directions[item_ids.index(history[p]) + 1]) for p in (0, 4, 5)}
        wanted = sorted((p for p in likeness if likeness[p] > 0), key=lambda p: -likeness[p])[:2]
        assert positions == wanted + [-1] * (2 - len(wanted))


def test_the_steps_are_an_ensemble_of_the_line(steps, tmp_path):
    inputs, outputs = write_models(tmp_path, "recommend", "r1", steps, RECOMMEND)
    assert [tensor.name for tensor in inputs] == [
        spec.name for spec in RECOMMEND.inputs if not spec.optional
    ]
    assert [tensor.dims for tensor in outputs] == [
        spec.dims for spec in RECOMMEND.outputs if not spec.optional
    ]


@pytest.mark.parametrize("name", ["history", "retrieve", "rank"])
def test_a_core_has_no_strings_and_only_standard_operators(name, steps):
    core = next(step.model for step in steps if step.name == name and step.role == "core")
    assert {node.domain for node in core.graph.node} <= {"", "ai.onnx"}
    assert {opset.domain for opset in core.opset_import} <= {"", "ai.onnx"}
    values = [*core.graph.input, *core.graph.output]
    assert onnx.TensorProto.STRING not in {value.type.tensor_type.elem_type for value in values}


def test_a_catalogue_larger_than_an_answer_gives_the_best_hundred(make_network, learned_ranker):
    """Both networks are asked in torch between the graphs; their exports are tested above."""
    network = make_network(items=150)
    item_ids = tuple(f"i{number}" for number in range(1, 151))
    request = Request(["i3"], item_count=MAX_ITEMS)
    first = FirstStage(network, 120)
    ranker = learned_ranker(first)
    tensors = request_tensors([request])
    tensors |= one(encode_graph(item_ids, LENGTH)).run(tensors)
    history = torch.from_numpy(tensors["history"])
    with torch.no_grad():
        tensors["query"] = first.query(history).numpy()
        tensors |= one(retrieve_graph(first.table, 120)).run(tensors)
        tensors |= one(filter_graph(120)).run(tensors)
        names = ("query", "shortlist", "shortlist_scores")
        ranked = ranker(history, *(torch.from_numpy(tensors[name]) for name in names))
    tensors |= {name: each.numpy() for name, each in zip(OUTPUTS, ranked, strict=True)}
    made = one(decode_graph(item_ids, LENGTH, first.count)).run(tensors)
    expected: Tensors = Reference(network, ranker, item_ids, 120).answer([request])
    np.testing.assert_allclose(made["scores"], expected["scores"], atol=TOLERANCES["scores"])
    assert made["item_ids"].tolist() == expected["item_ids"].tolist()
    assert len(set(made["item_ids"][0])) == MAX_ITEMS


def one(model: onnx.ModelProto) -> StepChain:
    return StepChain([StepModel("one", "pre", model)])


def test_a_table_of_several_blocks_keeps_retrieval_from_tensorrt_and_it_is_said_why(
    network: NextItemNetwork,
) -> None:
    graph = retrieve_graph(ItemTable.of(network, block=8), SHORTLIST)
    (because,) = readiness(graph, ranges_of("recommend")).because
    assert "(Scan): does not compute in INT32" in because
