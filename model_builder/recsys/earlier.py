"""An earlier release that a build starts from and is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model_builder.errors import CannotGoOn
from model_builder.previous import Previous
from model_builder.recsys.asking import EarlierRelease
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import Splits
from model_builder.recsys.ordering import Interactions, with_items
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.recsys.warm_start import sized_like, start_from
from model_builder.recsys.weights import Weights, read_weights
from model_builder.task import Metrics
from triton_models.release import WarmStart
from triton_models.signatures import RECOMMEND


@dataclass(frozen=True)
class Earlier:
    """What it had learnt, and it itself."""

    name: str
    weights: Weights
    release: EarlierRelease

    @staticmethod
    def of(previous: Previous) -> Earlier:
        """Read a release.

        Raises:
            CannotGoOn: If it is of another line, or of another kind.
        """
        if previous.manifest.line != RECOMMEND.line:
            raise CannotGoOn(previous.name, f"it is no release of '{RECOMMEND.line}'")
        weights = read_weights(previous.name, previous.weights)
        features = previous.manifest.features
        release = EarlierRelease(previous.name, previous.fused, features)
        return Earlier(previous.name, weights, release)

    def widened(self, interactions: Interactions) -> Interactions:
        """Return them in a catalogue with all earlier items."""
        return with_items(interactions, self.weights.item_ids)

    def sized(self, config: RecsysConfig) -> RecsysConfig:
        """Return ``config`` with the earlier network's sizes."""
        return sized_like(config, self.weights, self.name)

    def start(self, item_ids: Sequence[str]) -> Callable[[NextItemNetwork], None]:
        """Return what gives a network of this catalogue what was learnt."""
        return lambda network: start_from(network, item_ids, self.weights, self.name)

    def measured(
        self, interactions: Interactions, splits: Splits, seed: int
    ) -> dict[str, dict[str, Metrics]]:
        """Return what it would have got in each split, by its name."""
        return {
            self.name: {
                split: self.release.metrics(interactions, questions, seed)
                for split, questions in splits.asked.items()
            }
        }

    def taken_over(self, interactions: Interactions) -> WarmStart:
        """Count the items of both catalogues; ``interactions`` are widened."""
        had = set(interactions.sequences.joined().tolist())
        known = set(self.weights.item_ids)
        unseen = sum(
            number not in had and item in known
            for number, item in enumerate(interactions.item_ids, 1)
        )
        return WarmStart(
            release=self.name,
            items_kept=len(known),
            items_unseen=unseen,
            items_new=len(interactions.item_ids) - len(known),
        )
