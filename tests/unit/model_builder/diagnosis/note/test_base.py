from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import planted_notes
import pytest
import torch
from small_tokenizer import PIECES, tokenizer_json

from model_builder.diagnosis.note.base import find_base
from model_builder.diagnosis.note.building import KIND, fit_notes
from model_builder.diagnosis.note.config import NoteConfig
from model_builder.diagnosis.note.reading import read_notes
from model_builder.diagnosis.note.training import padded
from model_builder.errors import BaseUnusable
from model_builder.progress import SilentProgress
from model_builder.task import ResolvedData
from model_builder.training.config import TrainingConfig

pytestmark = pytest.mark.usefixtures("quick_torch")


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models with random weights, saved as pretrained ones are."""
    from transformers import (
        BertConfig,
        BertModel,
        PreTrainedTokenizerFast,
        RobertaConfig,
        RobertaForSequenceClassification,
        T5Config,
    )
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("bases")
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
             "hidden_size": 16, "vocab_size": 40}  # fmt: skip
    path = folder / "tokenizer.json"
    path.write_bytes(tokenizer_json())
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(path), pad_token="[PAD]", unk_token="[UNK]"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        BertModel(BertConfig(**sizes, max_position_embeddings=12)).save_pretrained(folder / "bert")
        RobertaForSequenceClassification(
            RobertaConfig(**sizes, max_position_embeddings=12, pad_token_id=1, num_labels=7)
        ).save_pretrained(folder / "roberta")
        T5Config(vocab_size=40, d_model=16).save_pretrained(folder / "t5")
        BertModel(BertConfig(**sizes)).save_pretrained(folder / "silent")
        for name in ("bert", "roberta", "t5"):
            tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture
def pooled(bases: Path) -> Callable[[str], str]:
    """Says how a model of sentence-transformers puts tokens together; returns the model."""

    def say(mode: str) -> str:
        folder = bases / "bert"
        (folder / "1_Pooling").mkdir(exist_ok=True)
        modules = [
            {"path": "", "type": "x.Transformer"},
            {"path": "1_Pooling", "type": "x.Pooling"},
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling" / "config.json").write_text(
            json.dumps({f"pooling_mode_{mode}_tokens": True, "pooling_mode_max_tokens": False})
        )
        return str(folder)

    return say


def test_a_base_brings_its_tokenizer_and_its_limits(bases: Path) -> None:
    bert, roberta = find_base(str(bases / "bert")), find_base(str(bases / "roberta"))
    assert (bert.width, bert.most_tokens, bert.pooling) == (16, 12, "")
    assert roberta.most_tokens == 10, "its places are counted from behind the padding's"
    assert set(json.loads(bert.tokenizer)["model"]["vocab"]) == set(PIECES)


@pytest.mark.parametrize(("mode", "said"), [("mean", "mean tokens"), ("cls", "cls tokens")])
def test_how_a_sentence_transformer_puts_tokens_together_is_known(
    pooled: Callable[[str], str], mode: str, said: str
) -> None:
    assert find_base(pooled(mode)).pooling == said


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_shares_add_up_and_padding_changes_nothing_for_any_base(bases: Path, name: str) -> None:
    network = find_base(str(bases / name)).network(3, 0.1).eval()
    with torch.no_grad():
        logits, shares, _ = network(*padded([[2, 4, 5, 6, 3], [2, 7, 3]]))
        alone = network(*padded([[2, 7, 3]]))
    torch.testing.assert_close(shares.sum(1) + network.head.bias, logits)
    torch.testing.assert_close(logits[1:], alone.logits)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("nowhere", ""),
        ("t5", "an encoder alone is wanted"),
        ("silent", "it comes without a tokenizer"),
    ],
    ids=["not there", "decoder", "no tokenizer"],
)
def test_what_cannot_be_fine_tuned_is_refused_by_name(bases: Path, name: str, cause: str) -> None:
    with pytest.raises(BaseUnusable, match=f"--base .*{name}: .*{cause}"):
        find_base(str(bases / name))


def settings(bases: Path, **training: object) -> NoteConfig:
    return NoteConfig(
        base=str(bases / "bert"),
        epochs=1,
        resamples=5,
        max_tokens=64,
        training=TrainingConfig.model_validate({"lora_rank": 2, **training}),
    )


@pytest.fixture
def data(tmp_path: Path) -> ResolvedData:
    return ResolvedData("p", planted_notes.write_csv(tmp_path / "p.csv", 45), "0" * 64)


@pytest.mark.parametrize(
    ("training", "learns"),
    [
        ({"strategy": "full"}, True),
        ({"strategy": "lora"}, True),
        ({"strategy": "head"}, False),
        ({"strategy": "full", "layer_decay": 0.5}, True),
    ],
    ids=["full", "lora", "head", "layer decay"],
)
def test_the_body_of_a_base_learns_as_the_strategy_says(
    bases: Path, data: ResolvedData, training: dict[str, object], learns: bool
) -> None:
    config = settings(bases, **training)
    base = find_base(str(config.base))
    before = base.network(3, 0.1).encoder.state_dict()
    fitted = fit_notes(read_notes(data, config), base, config, SilentProgress())
    after = fitted.network.encoder.state_dict()
    assert before.keys() == after.keys(), "what was added is merged again"
    assert learns == any(not torch.equal(before[name], after[name]) for name in before)


def test_a_fine_tuned_base_is_exported_with_its_tokenizer_and_its_limit(
    bases: Path, data: ResolvedData
) -> None:
    built = KIND.build(data, settings(bases, strategy="lora"), SilentProgress())
    assert built.details["note"].max_tokens == 12, "what the base can read"
    assert built.fused_parity["token_weights"].max_difference <= 1e-3
    vocabulary = json.loads(built.model_files["tokenizer.json"])["model"]["vocab"]
    assert set(vocabulary) == set(PIECES)
