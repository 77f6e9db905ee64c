"""Hyperparameters of a recommender."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from model_builder.task import TaskConfig


class RecsysConfig(TaskConfig):
    """Hyperparameters of a recommender; the defaults were chosen on MovieLens' validation split."""

    history_length: int = Field(50, ge=2, le=500)
    """Newest known items that the network reads."""
    width: int = Field(64, ge=4)
    """Length of an item's vector."""
    layers: int = Field(1, ge=1)
    heads: int = Field(1, ge=1)
    dropout: float = Field(0.4, ge=0, lt=1)
    epochs: int = Field(12, ge=1)
    batch_size: int = Field(32, ge=1)
    """Windows in a batch."""
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    patience: int = Field(3, ge=1)
    """Epochs without a better NDCG@10 on the validation split before training stops."""
    negatives: int = Field(4096, ge=0)
    """Items drawn for each batch, beside those in it, to stand for the catalogue; 0 takes all."""
    neighbours: int = Field(5, ge=0)
    """Items before and after one that count as its company when the vectors are laid out before
    training; 0 lays them out at random."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        return self
