"""The settings of a release that diagnoses from notes."""

from __future__ import annotations

from pydantic import Field

from model_builder.diagnosis.settings import LookedAtSettings
from model_builder.training.config import TrainingConfig
from triton_models.note_limits import MAX_NOTE_TOKENS


class NoteConfig(LookedAtSettings):
    """Hyperparameters of a network on notes. ``None`` is chosen by whether there is a base."""

    base: str | None = None
    """A pretrained transformers text model: a folder, or a name of the hub."""
    text: str | None = None
    """The column with the notes; by default the one with most words."""
    max_tokens: int = Field(256, ge=8, le=MAX_NOTE_TOKENS)
    """Of a note; what follows is not read."""
    vocabulary: int = Field(4000, ge=100, le=100_000)
    """Pieces of words that are told apart, at most; without a base."""
    width: int = Field(128, ge=8)
    """Of each token; without a base."""
    layers: int = Field(0, ge=0)
    """Without a base; each lets a token see the two beside it, which then share its weight."""
    dropout: float = Field(0.2, ge=0, lt=1)
    word_dropout: float = Field(0.15, ge=0, lt=1)
    """Share of the tokens that are hidden in training; without a base."""
    probe: bool = True
    """Begin with the head that is best for the base as it came (Kumar et al. 2022,
    arXiv:2202.10054)."""
    epochs: int | None = Field(None, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float | None = Field(None, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    patience: int | None = Field(None, ge=1)
    """Epochs that may bring nothing better."""
    validation_share: float = Field(0.15, gt=0, lt=0.5)
    test_share: float = Field(0.2, gt=0, lt=0.5)
    training: TrainingConfig = Field(
        default_factory=lambda: TrainingConfig(
            warmup_share=0.1, layer_decay=1.0, label_smoothing=0.05
        )
    )

    @property
    def epochs_taken(self) -> int:
        """Epochs at most."""
        return self.epochs or (60 if self.base is None else 4)

    @property
    def patience_had(self) -> int:
        """Epochs that may bring nothing better."""
        return self.patience or (8 if self.base is None else 3)

    @property
    def highest_rate(self) -> float:
        """The learning rate after the warm-up."""
        return self.learning_rate or (2e-3 if self.base is None else 1e-4)
