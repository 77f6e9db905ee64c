"""Low-rank additions to linear layers that learn in the place of the layers, through peft."""

from __future__ import annotations

import re
import warnings

from peft import LoraConfig, LoraModel
from torch import nn

from model_builder.errors import StrategyDoesNotApply
from model_builder.training.config import TrainingConfig
from model_builder.training.layers import Layers


class LowRank:
    """LoRA or DoRA on every linear layer of the body; the head learns as it is."""

    def __init__(self, model: nn.Module, layers: Layers, config: TrainingConfig) -> None:
        """Add to ``model``, in place.

        Raises:
            StrategyDoesNotApply: If there is nothing to add to.
        """
        targets = [
            name
            for name, module in model.named_modules()
            if name and isinstance(module, nn.Linear) and f"{name}.weight" not in layers.head
        ]
        if not targets:
            raise StrategyDoesNotApply(config.strategy, "the network has no linear layer below it")
        self._learnt = [weight for weight in model.parameters() if weight.requires_grad]
        head = [weight for weight in layers.head.values() if weight.requires_grad]
        lora = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules="|".join(map(re.escape, targets)),  # a list would take name endings
            use_dora=config.strategy == "dora",
        )
        self._lora = LoraModel(model, lora, "default")
        for weight in head:
            weight.requires_grad_(True)

    def start_epoch(self, epoch: int) -> None:
        """Change nothing: the same weights learn in every epoch."""

    def finish(self) -> None:
        """Put the additions into the layers, which then look as if they had learnt themselves."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of what else peft could have done
            self._lora.merge_and_unload()
        for weight in self._learnt:
            weight.requires_grad_(True)
