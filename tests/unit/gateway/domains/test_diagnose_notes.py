from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from fake_runner import FakeCall, FakeRunner, Outputs, read_note
from manifests import LABELS, NOTE_TOKENS, manifest
from small_tokenizer import PIECES, byte_tokenizer_json, tokenizer_json

from gateway.domains import diagnose
from gateway.domains.diagnose_notes import NoteRow, note_notes, notes_to_tensors
from gateway.domains.domain import requests_to_tensors
from gateway.domains.validation import Violations
from gateway.errors import InvalidRequest, ModelContractBroken
from gateway.transport.answering import Answering
from trident.common.v1.input_note_pb2 import INPUT_RULE_TRUNCATED
from trident.common.v1.served_by_pb2 import ServedBy
from trident.diagnose.v1.diagnose_service_pb2 import (
    REVIEW_REASON_UNUSUAL_EVIDENCE,
    DiagnoseRequest,
    DiagnoseResponse,
)
from triton_models.note_limits import MAX_NOTE_LENGTH, MAX_NOTE_TOKENS, most_notes
from triton_models.note_tokenizers import TOKENIZERS
from triton_models.release import NoteSpec

RELEASE = manifest("diagnose-note")
SERVED_BY = ServedBy(line="diagnose-note", release="r1", variant="fused")
LONG = "fever cough my head , . fever"


@pytest.fixture(autouse=True)
def tokenizer() -> Iterator[None]:
    """What looking after the releases would have read."""
    TOKENIZERS.add(RELEASE, tokenizer_json())
    yield
    TOKENIZERS.forget(RELEASE)


def asked(note: str, explain: bool = False) -> DiagnoseRequest:
    return DiagnoseRequest(note=note, explain=explain)


def answer(requests: list[DiagnoseRequest]) -> Outputs:
    outputs = read_note(requests_to_tensors(diagnose, requests, RELEASE), RELEASE)
    return {name: outputs[name] for name in diagnose.wanted_outputs(requests)}


def answered(request: DiagnoseRequest, **changes: np.ndarray) -> DiagnoseResponse:
    outputs = answer([request]) | changes
    (response,) = diagnose.tensors_to_responses(outputs, [request], RELEASE, SERVED_BY)
    return response


def complaints(request: DiagnoseRequest) -> dict[str, str]:
    violations = Violations()
    assert diagnose.check(request, violations) == "diagnose-note"
    diagnose.check_schema(request, RELEASE, violations)
    return violations.found


def test_notes_become_tokens_padded_to_the_longest() -> None:
    tensors = requests_to_tensors(diagnose, [asked("fever"), asked("my headache")], RELEASE)
    named = [[PIECES[one] for one in row] for row in tensors["token_ids"]]
    assert named == [
        ["[CLS]", "fever", "[SEP]", "[PAD]", "[PAD]"],
        ["[CLS]", "my", "head", "##ache", "[SEP]"],
    ]
    assert tensors["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert {one.dtype for one in tensors.values()} == {np.dtype("int32")}


def test_the_plain_way_gives_the_same_row_as_the_careful_one() -> None:
    request = asked("fever")
    assert diagnose.read(request, RELEASE) == diagnose.row(request, RELEASE)
    assert complaints(request) == {}


@pytest.mark.parametrize(
    "note", ["", "a\0b", "x" * (MAX_NOTE_LENGTH + 1)], ids=["empty", "NUL", "long"]
)
def test_what_is_plainly_wrong_is_told(note: str) -> None:
    assert diagnose.read(asked(note), RELEASE) is None
    assert list(complaints(asked(note))) == ["note"]


def test_only_short_notes_are_read_where_calls_are_answered() -> None:
    assert NoteRow("fever", RELEASE).quick
    assert not NoteRow("fever " * 200, RELEASE).quick
    assert not diagnose.slow_to_write({}, [asked("fever", explain=True)])
    assert diagnose.slow_to_write({}, [asked("fever " * 100)] * 2)


def test_notes_of_like_length_travel_together() -> None:
    widths = [diagnose.width(np.zeros(tokens, np.int32)) for tokens in (1, 2, 3, 4, 5, 8, 9)]
    assert widths == [0, 1, 2, 2, 3, 3, 4]


def test_findings_come_sorted_without_words_that_nobody_wants() -> None:
    response = answered(asked("fever"))
    assert [finding.label for finding in response.findings] == [LABELS[0], LABELS[1], LABELS[2]]
    assert not response.HasField("explanation")
    assert not response.needs_review
    assert not response.input_notes


def test_each_word_has_the_weights_of_its_tokens_in_the_order_of_the_note() -> None:
    response = answered(asked("My headache, fever", explain=True))
    assert response.explanation.label == LABELS[1]
    found = [(one.token, one.weight) for one in response.explanation.token_weights.tokens]
    number = {piece: float(place) for place, piece in enumerate(PIECES)}
    assert found == [
        ("My", number["my"]),
        ("headache", number["head"] + number["##ache"]),
        (",", number[","]),
        ("fever", number["fever"]),
    ]


def test_a_note_that_was_cut_says_so_and_is_not_unusual_for_that() -> None:
    response = answered(asked(LONG), unusualness=np.array([[0.5]], np.float32))
    assert [(one.feature, one.rule) for one in response.input_notes] == [
        ("note", INPUT_RULE_TRUNCATED)
    ]
    assert not response.needs_review


def test_a_note_with_no_more_characters_than_tokens_can_be_cut_too() -> None:
    commas = "," * NOTE_TOKENS  # beside them are the tokens that stand for no text
    assert [one.rule for one in answered(asked(commas)).input_notes] == [INPUT_RULE_TRUNCATED]
    assert not answered(asked(commas[:-2])).input_notes


def test_characters_of_several_tokens_are_counted_as_such() -> None:
    release = manifest("diagnose-note", release="r2", note=NoteSpec(max_tokens=64))
    TOKENIZERS.add(release, byte_tokenizer_json())
    try:
        assert [one.rule for one in note_notes("痛" * 22, release)] == [INPUT_RULE_TRUNCATED]
        assert note_notes("痛" * 21, release) == []
        assert note_notes("a" * 64, release) == []
    finally:
        TOKENIZERS.forget(release)


def test_a_note_unlike_the_training_data_needs_a_person() -> None:
    response = answered(asked("fever"), unusualness=np.array([[1.2]], np.float32))
    assert list(response.review_reasons) == [REVIEW_REASON_UNUSUAL_EVIDENCE]


def test_fewer_weights_than_tokens_are_a_broken_contract() -> None:
    with pytest.raises(ModelContractBroken):
        answered(asked("fever cough", explain=True), token_weights=np.zeros((1, 3), np.float32))


def test_more_text_than_a_batch_may_have_is_refused() -> None:
    rows = [np.ones(256, np.int32)] * 129
    with pytest.raises(InvalidRequest, match="requests: must have at most 128 notes as long as"):
        notes_to_tensors(rows)


async def test_a_note_is_answered_and_explained() -> None:
    runner = FakeRunner(RELEASE)
    request = asked("fever, my headache", explain=True)
    response = await Answering(runner).one(diagnose, request, FakeCall())
    assert [one.token for one in response.explanation.token_weights.tokens] == [
        "fever", ",", "my", "headache",
    ]  # fmt: skip
    assert runner.asked[0].outputs == ("probabilities", "unusualness", "token_weights")


async def test_a_batch_of_notes_is_one_inference_however_many_threads_read_them() -> None:
    runner = FakeRunner(RELEASE)
    requests = [asked("fever " * (number % 5 + 1)) for number in range(100)]
    answers = await Answering(runner).batch(diagnose, requests, FakeCall())
    (inference,) = runner.asked
    assert inference.tensors["token_ids"].shape == (100, 7)
    assert inference.tensors["attention_mask"].sum(axis=1).tolist() == [
        number % 5 + 3 for number in range(100)
    ]
    assert len(answers) == 100


async def test_the_longest_note_there_may_be_is_read_and_cut() -> None:
    runner = FakeRunner(RELEASE)
    response = await Answering(runner).one(diagnose, asked("x " * 10_000), FakeCall())
    assert runner.asked[0].tensors["token_ids"].shape == (1, NOTE_TOKENS)
    assert [one.rule for one in response.input_notes] == [INPUT_RULE_TRUNCATED]


async def test_calls_that_travel_together_are_no_more_than_their_longest_notes_allow() -> None:
    release = manifest("diagnose-note", "long", note=NoteSpec(max_tokens=MAX_NOTE_TOKENS))
    TOKENIZERS.add(release, tokenizer_json())
    runner = FakeRunner(release)
    answering = Answering(runner)
    await asyncio.gather(
        *(answering.one(diagnose, asked("fever"), FakeCall(address=f"{n}")) for n in range(60))
    )
    TOKENIZERS.forget(release)
    assert sum(inference.rows for inference in runner.asked) == 60
    assert 1 < max(inference.rows for inference in runner.asked) <= most_notes(MAX_NOTE_TOKENS)
