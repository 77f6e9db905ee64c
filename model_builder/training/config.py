"""The settings of the training loop that every task shares: ``--set training.NAME=VALUE``.

How fast, how long and how strongly a task learns (``learning_rate``, ``epochs``, ``patience``,
``batch_size``, ``weight_decay``, ``dropout``) stand beside the task's own settings, because each
task has defaults of its own for them. ``docs/training.md`` says when to use which.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Strategy = Literal["full", "lora", "dora", "head", "gradual"]


class TrainingConfig(BaseModel):
    """How any network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Strategy = "full"
    """Which weights learn: all, low-rank additions, the head, or more with each epoch."""
    head: tuple[str, ...] = ()
    """Names of the modules that are the head; empty finds it in a transformers network."""
    lora_rank: int = Field(16, ge=1)
    lora_alpha: float = Field(32, gt=0)
    """The additions are scaled by ``lora_alpha / lora_rank``."""
    lora_rate: float = Field(10, gt=0)
    """What learns by lora and dora does so at this times the learning rate of full fine-tuning."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    unfreeze_every: int = Field(1, ge=1)
    """Epochs after which gradual unfreezing lets the next layer learn."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """The learning rate of a layer is this times that of the layer above; 1 is the same for all."""

    optimizer: Literal["adamw", "sgd", "lion", "muon"] = "adamw"
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of sgd (Nesterov's)."""
    clip_norm: float = Field(1.0, ge=0)
    """Longest gradient; 0 clips nothing."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Of the average of the weights that is validated and kept; 0 keeps the weights as they are."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of certainty that the target gives to the other classes."""
    initialisation: Literal["default", "xavier", "kaiming", "orthogonal"] = "default"
    """Of the weight matrices that start at random; ``default`` is what the network itself does."""

    schedule: Literal["cosine", "linear", "step", "plateau", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_share: float = Field(0.05, ge=0, lt=1)
    """Share of all steps in which the learning rate rises from 0."""
    final_share: float = Field(0.0, ge=0, lt=1)
    """Where cosine and linear end: the lowest learning rate as a share of the highest."""
    drop_share: float = Field(0.33, gt=0, le=1)
    """Share of all steps after which ``step`` drops the learning rate, again and again."""
    drop_factor: float = Field(0.1, gt=0, lt=1)
    """What ``step`` and ``plateau`` multiply the learning rate by."""
    plateau_patience: int = Field(2, ge=0)
    """Epochs without a better validation before ``plateau`` drops the learning rate."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the multiplications; the weights stay fp32. fp16 needs a GPU."""
    accumulation: int = Field(1, ge=1)
    """Parts that each batch is computed in, one after the other: less memory, the same step."""
    gradient_checkpointing: bool = False
    """Compute the layers' inner values twice instead of keeping them."""
    compile: Literal["no", "inductor", "aot_eager", "eager"] = "no"
    """The backend of ``torch.compile``."""
    workers: int = Field(0, ge=0)
    """Processes that make batches ahead; 0 makes them in the training process."""
    shard: bool = False
    """Spread weights, gradients and optimiser over the processes (FSDP), not only the batch."""

    checkpoint_seconds: float = Field(60, ge=0)
    """Least time between two checkpoints of one process; 0 turns them off."""
    checkpoint_steps: int = Field(0, ge=0)
    """Steps between two checkpoints, whatever the time; 0 goes by the time alone."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.shard and (self.ema_decay or self.strategy == "gradual"):
            raise ValueError("shard works neither with ema_decay nor with strategy gradual")
        if self.strategy == "head" and self.layer_decay < 1:
            raise ValueError("layer_decay needs layers that learn: not with strategy head")
        return self
