"""Hyperparameters of a recommender."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from model_builder.recsys.columns import ROLES
from model_builder.recsys.log_config import LogConfig
from model_builder.recsys.precision import RecsysTraining
from triton_models.signatures import MAX_ITEMS

Auto = Literal["auto"]
"""Chosen by the size of the log: ``sizing``."""


class RecsysConfig(LogConfig):
    """Hyperparameters of a recommender; ``auto`` is chosen by the size of the log (``sizing``)."""

    training: RecsysTraining = Field(default_factory=RecsysTraining)
    history_length: Annotated[int, Field(ge=2, le=500)] | Auto = "auto"
    """Newest known items that the network reads."""
    width: Annotated[int, Field(ge=4, multiple_of=2)] | Auto = "auto"
    """Length of an item's vector; even, for the places."""
    layers: Annotated[int, Field(ge=1)] | Auto = "auto"
    heads: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Each has an even share of the width."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | Auto = "auto"
    epochs: Annotated[int, Field(ge=1)] | Auto = "auto"
    batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Windows of full length in a batch; it takes more of shorter ones."""
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    patience: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Epochs without a better NDCG@10 on the validation split before training stops."""
    negatives: Annotated[int, Field(ge=0)] | Auto = "auto"
    """Items drawn for each batch, beside those in it, to stand for the catalogue; 0 takes all."""
    time_gaps: bool = False
    """Whether the network is told how long it was from each item to the next, and to the request
    (``time_gaps``); needs a log with times, and requests that say them."""
    prune: float = Field(0.0, ge=0, lt=1)
    """Share of the width that is removed once the network has learnt; it then learns again."""
    neighbours: int = Field(5, ge=0)
    """Items before and after one that count as its company when the vectors are laid out before
    training; 0 lays them out at random."""
    base: str | None = None
    """A text encoder: the folder, or the name on the hub, of a sentence-transformers model. It
    places items that nobody had yet, from the table of items beside the log (``content``)."""
    shortlist: int = Field(200, ge=MAX_ITEMS, le=2000)
    """Items that the first stage finds among the whole catalogue and the ranker orders."""
    rank_epochs: int = Field(10, ge=0)
    """Of the ranker; 0 leaves the order to the first stage."""
    rank_learning_rate: float = Field(0.01, gt=0)
    context: tuple[str, ...] = ()
    """Columns of the log that are known when a request is made; the ranker reads them."""

    @field_validator("context")
    @classmethod
    def _context_is_beside_the_interaction(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        faults = [f"'{name}' is of the interaction itself" for name in names if name in ROLES]
        faults += [f"'{name}' twice" for name in sorted(set(names)) if names.count(name) > 1]
        if faults:
            raise ValueError(f"context has {', '.join(faults)}")
        return names

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        heads, width = self.heads, self.width
        if heads != "auto" and width != "auto" and width % (2 * heads):
            raise ValueError(f"width {width} must be a multiple of twice heads {heads}")
        return self
