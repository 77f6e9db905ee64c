from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import planted_notes
import pytest
from gpu_readiness import reasons
from planted_notes import CONFIG, LINE, PLANTED, candidate

from model_builder.build import stage_release
from model_builder.diagnosis.evidence import evidence_of
from model_builder.diagnosis.task import TASK
from model_builder.export.chain import StepChain
from model_builder.export.fused import FusedModel
from model_builder.proof.proving import largest_batch
from model_builder.proof.recorded import from_parquet, to_parquet
from model_builder.task import Candidate, ResolvedData
from triton_models.note_limits import most_notes
from triton_models.notes import NoteTokenizer
from triton_models.signatures import DIAGNOSE_NOTE


@pytest.fixture(scope="module")
def built() -> Candidate:
    return candidate()


@pytest.fixture(scope="module")
def tokenizer(built: Candidate) -> NoteTokenizer:
    return NoteTokenizer(built.model_files["tokenizer.json"], CONFIG.max_tokens)


def ask(built: Candidate, tokenizer: NoteTokenizer, notes: list[str]) -> dict[str, np.ndarray]:
    rows = [tokenizer.ids(note) for note in notes]
    width = max(map(len, rows))
    ids, mask = np.zeros((2, len(rows), width), np.int32)
    for place, row in enumerate(rows):
        ids[place, : len(row)], mask[place, : len(row)] = row, 1
    return StepChain(built.steps).run({"token_ids": ids, "attention_mask": mask})


def test_a_table_of_notes_is_built_from_as_notes(tmp_path: Path) -> None:
    data = ResolvedData("n", planted_notes.write_csv(tmp_path / "n.csv", 60), "0" * 64)
    assert evidence_of(data) == "note"
    assert TASK.for_data(data).config_type is type(CONFIG)


def test_planted_words_are_learnt_and_calibrated(built: Candidate) -> None:
    test = built.metrics["test"]
    assert test["accuracy"].value == 1
    assert test["auc"].value == 1
    assert test["ece"].value <= 0.05
    assert built.baselines["words_regression"]["test"]["accuracy"].value > 0.9
    assert built.labels == ("heart", "lung", "skin")


def test_the_weights_of_the_tokens_point_at_the_planted_words(
    built: Candidate, tokenizer: NoteTokenizer
) -> None:
    notes, labels = planted_notes.planted_notes(90, seed=7)
    found = ask(built, tokenizer, notes)
    hits = 0
    for place, (note, label) in enumerate(zip(notes, labels, strict=True)):
        words = tokenizer.tokens(note).words
        weights = [found["token_weights"][place, list(word.places)].sum() for word in words]
        hits += words[int(np.argmax(weights))].text in PLANTED[label]
    assert hits / len(notes) >= 0.95


def test_notes_of_different_lengths_in_one_batch_are_answered_as_alone(
    built: Candidate, tokenizer: NoteTokenizer
) -> None:
    notes = ["rash", "murmur and no pets", "since some weeks the evening wheezing is not so good"]
    together = ask(built, tokenizer, notes)
    for place, note in enumerate(notes):
        alone = ask(built, tokenizer, [note])
        tokens = alone["token_weights"].shape[1]
        for name in ("probabilities", "unusualness"):
            np.testing.assert_allclose(together[name][place], alone[name][0], atol=1e-5)
        np.testing.assert_allclose(
            together["token_weights"][place, :tokens], alone["token_weights"][0], atol=1e-5
        )
        assert not together["token_weights"][place, tokens:].any()


def test_both_variants_answer_every_test_row_as_torch_did(built: Candidate) -> None:
    for parity in (built.parity, built.fused_parity):
        assert set(parity) == {"probabilities", "unusualness", "token_weights"}
        assert {one.rows for one in parity.values()} == {built.data.split["test"]}
        assert all(one.max_difference <= one.tolerance for one in parity.values())


def test_words_that_nobody_has_ever_written_are_unusual(
    built: Candidate, tokenizer: NoteTokenizer
) -> None:
    usual = ask(built, tokenizer, ["the patient says murmur in the evening"])
    unusual = ask(built, tokenizer, ["zxqj kkvb 9987 ++ wwww ###"])
    assert usual["unusualness"][0, 0] < 1 < unusual["unusualness"][0, 0]


def test_the_tokenizer_lies_with_the_models_and_is_hashed(built: Candidate, tmp_path: Path) -> None:
    manifest = stage_release(built, CONFIG, "r1", tmp_path)
    path = manifest.extra_file("tokenizer.json")
    assert (tmp_path / path).read_bytes() == built.model_files["tokenizer.json"]
    assert path in manifest.files
    assert manifest.note is not None
    assert manifest.note.max_tokens == CONFIG.max_tokens
    assert [step.role for step in manifest.steps] == ["core", "post", "post"]


def test_a_release_is_only_data(built: Candidate) -> None:
    for step in built.steps:
        assert {node.domain for node in onnx_nodes(step.model)} <= {"", "ai.onnx"}


def onnx_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    yield from model.graph.node


def test_what_is_recorded_is_asked_in_batches_that_the_gateway_takes(
    built: Candidate, tmp_path: Path
) -> None:
    assert built.recorded is not None
    recorded = from_parquet(to_parquet(built.recorded))
    manifest = stage_release(built, CONFIG, "r1", tmp_path)
    tokens = recorded.batch(np.array([0]))[0]["token_ids"].shape[1]
    assert largest_batch(recorded, manifest) == most_notes(tokens)
    inputs, outputs = recorded.batch(np.arange(4))
    fused = FusedModel(built.steps, DIAGNOSE_NOTE).run(inputs)
    for name, expected in outputs.items():
        np.testing.assert_allclose(fused[name], expected, atol=1e-3)


def test_the_report_says_how_it_was_made(built: Candidate) -> None:
    page = io.BytesIO(built.extra_files["report.html"]).read().decode()
    for text in ("pieces of words", "Best validation loss", "words_regression", "Reliab"):
        assert text in page
    assert built.line == LINE


def test_tensorrt_takes_every_core(built: Candidate) -> None:
    assert reasons(built) == {"encode": ()}
