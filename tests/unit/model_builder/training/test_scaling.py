from __future__ import annotations

from typing import Any

import pytest
import small_training
import torch
from torch import nn
from transformers import BertConfig, BertModel

from model_builder.errors import ConfigInvalid, DeviceLacks, StrategyDoesNotApply
from model_builder.training.config import TrainingConfig
from model_builder.training.devices import computed, process_count
from model_builder.training.feeding import made_ahead, rows, split
from model_builder.training.seeding import seed_everything

pytestmark = pytest.mark.usefixtures("quick_torch")


def trained(dropout: float = 0.0, **training: Any) -> tuple[nn.Module, list[float]]:
    seed_everything(3)
    model = small_training.network(dropout=dropout)
    result = small_training.train(model, epochs=2, **training)
    return model, [epoch.loss for epoch in result.history]


def close(one: nn.Module, other: nn.Module, tolerance: float = 1e-5) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(a, b, atol=tolerance) for a, b in pairs)


@pytest.fixture(scope="module")
def plain() -> tuple[nn.Module, list[float]]:
    return trained()


@pytest.mark.parametrize("parts", [2, 3, 16])
def test_a_batch_in_parts_moves_the_weights_as_a_whole_one(plain, parts: int) -> None:
    model, losses = trained(accumulation=parts)
    assert close(model, plain[0])
    assert losses == pytest.approx(plain[1], rel=1e-5)


def test_the_parts_of_all_processes_are_the_batch() -> None:
    batch = {"x": torch.arange(10), "y": torch.arange(10) * 2}
    found = [part for process in range(3) for part in split(batch, 2, rows, process, 3)]
    assert torch.cat([part["x"] for part, _ in found]).tolist() == list(range(10))
    assert all(torch.equal(part["y"], part["x"] * 2) for part, _ in found)
    # Each process's gradient is averaged over three.
    assert sum(factor for _, factor in found) / 3 == pytest.approx(1)
    assert [factor * 10 / 3 for _, factor in found] == pytest.approx(
        [len(p["x"]) for p, _ in found]
    )


def test_parts_count_by_what_the_loss_is_a_mean_over() -> None:
    batch = (torch.tensor([1.0, 0.0, 1.0, 1.0]),)
    found = list(split(batch, 2, weigh=lambda part: float(part[0].sum())))
    assert [factor for _, factor in found] == pytest.approx([1 / 3, 2 / 3])


def test_a_process_without_a_row_takes_part_and_counts_nothing() -> None:
    found = [
        part for process in range(4) for part in split((torch.arange(2),), 1, rows, process, 4)
    ]
    assert [factor for _, factor in found] == [0.0, 2.0, 0.0, 2.0]
    assert all(len(part[0]) == 1 for part, _ in found)


def test_workers_make_the_same_batches_in_the_same_order() -> None:
    batches = small_training.batches(0)
    made = list(made_ahead(batches, start=1, workers=1))
    assert len(made) == len(batches) - 1
    assert all(torch.equal(a[0], b[0]) for a, b in zip(made, batches[1:], strict=True))


def test_workers_leave_chance_alone() -> None:
    one, other = trained(dropout=0.5), trained(dropout=0.5, workers=1)
    assert one[1] == other[1]


def test_bf16_multiplies_with_fewer_digits(plain) -> None:
    seen: set[torch.dtype] = set()

    def loss(model: nn.Module, batch: small_training.Rows) -> torch.Tensor:
        hook = model[1][0].inner.register_forward_hook(lambda _, args, out: seen.add(out.dtype))
        found = small_training.loss(model, batch)
        hook.remove()
        return found

    model, losses = trained(precision="bf16", loss=loss)
    assert seen == {torch.bfloat16}
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert losses != plain[1]
    assert losses == pytest.approx(plain[1], rel=0.05)
    assert model(torch.zeros(1, 6)).dtype == torch.float32
    assert "forward" not in vars(model)


def test_fp16_without_a_gpu_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceLacks, match=r"--set training.precision=fp16: needs a GPU"):
        trained(precision="fp16")


def test_sharing_with_nobody_is_refused() -> None:
    assert process_count() == 1
    with pytest.raises(DeviceLacks, match=r"training\.shard=true: one process has nobody"):
        trained(shard=True)


def test_checkpointed_blocks_are_computed_twice_with_the_same_result(plain) -> None:
    model, losses = trained(gradient_checkpointing=True)
    assert losses == plain[1]
    assert close(model, plain[0], 0)
    # Of each of two epochs: six training steps, and one validation, which keeps nothing anyway.
    assert plain[0][1][0].calls == 2 * (6 + 1)
    assert model[1][0].calls == 2 * (6 * 2 + 1)
    assert "forward" not in vars(model[1][0])


def test_checkpointing_drops_the_same_values_both_times() -> None:
    assert trained(0.5)[1] == trained(0.5, gradient_checkpointing=True)[1]


def test_a_transformer_checkpoints_itself() -> None:
    bert = BertModel(
        BertConfig(
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
            vocab_size=9,
        )
    )
    with computed(bert, TrainingConfig(gradient_checkpointing=True)):
        assert bert.is_activation_checkpointing
    assert not bert.is_activation_checkpointing


def test_a_network_without_blocks_is_not_checkpointed() -> None:
    with pytest.raises(StrategyDoesNotApply, match="no list of blocks to compute twice"):
        small_training.train(nn.Linear(6, 2), gradient_checkpointing=True)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo asks for it
def test_compile_compiles_the_training_and_leaves_no_trace(plain) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model, losses = trained(compile="eager")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert losses == pytest.approx(plain[1], rel=1e-5)
    assert close(model, plain[0])
    assert model._compiled_call_impl is None


def test_settings_that_do_not_go_together_are_refused() -> None:
    from model_builder.config import read_config
    from model_builder.task import TaskConfig

    together = ["training.shard=true", "training.ema_decay=0.9"]
    with pytest.raises(ConfigInvalid, match=r"training: .*shard works neither with ema_decay"):
        read_config(TaskConfig, settings=together)
