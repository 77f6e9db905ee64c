"""The settings of a release that diagnoses from images."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from model_builder.diagnosis.settings import LookedAtSettings
from model_builder.training.config import TrainingConfig


class Augmentation(BaseModel):
    """How far training images are changed at most; each change is drawn anew for each row.

    Left and right are not exchanged unless it is asked for: a heart lies on one side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation: float = Field(12, ge=0, le=180)
    """Degrees."""
    shift: float = Field(0.1, ge=0, lt=1)
    """Share of a side."""
    scale: float = Field(0.25, ge=0, lt=1)
    """Of the natural logarithm of the size; half of it goes into the proportions."""
    shear: float = Field(5, ge=0, lt=45)
    """Degrees."""
    elastic: float = Field(1.0, ge=0)
    """Standard deviation of a smooth distortion, in pixels of an image of 28."""
    brightness: float = Field(0.15, ge=0, le=1)
    """Share of the range from black to white."""
    contrast: float = Field(0.4, ge=0)
    """Of the natural logarithm of the contrast."""
    gamma: float = Field(0.4, ge=0)
    """Of the natural logarithm of gamma."""
    blur: float = Field(0.3, ge=0, le=1)
    """Share of the rows that are blurred or sharpened."""
    noise: float = Field(0.05, ge=0)
    """Standard deviation, as a share of the range."""
    cutout: float = Field(0.5, ge=0, le=1)
    """Share of the rows that lose a square."""
    mixup: float = Field(0.2, ge=0)
    """Alpha of Zhang et al. 2018 (arXiv:1710.09412); 0 mixes nothing."""
    flip: bool = False
    """Whether left and right are exchanged."""
    final_share: float = Field(0.3, ge=0, le=1)
    """How far all of this still goes at the end of the training, where a network gets used to
    images as they are; it falls over the last two fifths, and mixup ends a fifth before the end."""

    def after(self, done: float) -> Augmentation:
        """Return how far to go when a share of the training is done."""
        eased = min(1.0, max(0.0, (done - _EASES_FROM) / (1 - _EASES_FROM)))
        share = 1 - (1 - self.final_share) * eased
        if share == 1:
            return self
        changes = {name: getattr(self, name) * share for name in _STRENGTHS}
        if done > _MIXES_UNTIL:
            changes["mixup"] = 0.0
        return self.model_copy(update=changes)


_STRENGTHS = (
    "rotation", "shift", "scale", "shear", "elastic", "brightness", "contrast", "gamma", "blur",
    "noise", "cutout",
)  # fmt: skip
_EASES_FROM, _MIXES_UNTIL = 0.6, 0.8


class ImageConfig(LookedAtSettings):
    """Hyperparameters of a network on images. ``None`` is chosen by the data, or by the base."""

    base: str | None = None
    """A pretrained transformers image model: a folder, or a name of the hub."""
    image_size: int | None = Field(None, ge=8, le=1024)
    """Side of the square that a network sees."""
    fit: Literal["crop", "pad", "stretch"] | None = None
    """What becomes of an image that is no square: ``crop`` for archives, else ``pad``."""
    equalise: bool = True
    """Give every image the same mean and spread, so that exposure tells nothing."""
    members: int = Field(2, ge=1)
    """Networks that answer together; one where a base is fine-tuned."""
    width: int = Field(16, ge=8)
    """Channels of the first layer of a network without a base."""
    prune: float = Field(0.0, ge=0, lt=1)
    """Share of the networks that is removed once they have learnt: whole members first, channels of
    the others for the rest; these then learn again."""
    dropout: float = Field(0.2, ge=0, lt=1)
    steps: int | None = Field(None, ge=1)
    """Of the training of each member, however many rows there are."""
    batch_size: int = Field(64, ge=2)
    learning_rate: float | None = Field(None, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    patience: int = Field(20, ge=1)
    """Of the twenty validations, how many may bring nothing better."""
    class_weights: Literal["none", "balanced"] = "balanced"
    augment: Augmentation = Field(default_factory=Augmentation)
    validation_share: float = Field(0.1, gt=0, lt=0.5)
    """Where the data say nothing of a validation split."""
    test_share: float = Field(0.2, gt=0, lt=0.5)
    """Where they say nothing of a test split."""
    training: TrainingConfig = Field(
        default_factory=lambda: TrainingConfig(ema_decay=0.995, label_smoothing=0.1)
    )

    @property
    def steps_taken(self) -> int:
        """Steps of each member."""
        return self.steps or (3500 if self.base is None else 600)

    @property
    def highest_rate(self) -> float:
        """The learning rate after the warm-up."""
        return self.learning_rate or (2e-3 if self.base is None else 1e-4)
