from __future__ import annotations

import pytest
import small_images
import torch
from safetensors.torch import load, save
from torch import nn

from model_builder.diagnosis.image.building import KIND
from model_builder.diagnosis.image.network import CompactNetwork
from model_builder.diagnosis.image.pruning import (
    kept_members,
    prune_channels,
    recovering,
    share_of_channels,
    start_from,
    weights_file,
)
from model_builder.errors import CannotGoOn, StrategyDoesNotApply
from model_builder.previous import WEIGHTS
from model_builder.progress import SilentProgress
from model_builder.task import Learnt, Prunes

pytestmark = pytest.mark.usefixtures("quick_torch")
IMAGES = torch.randn(2, 1, 28, 28)


def network(width: int = 16) -> CompactNetwork:
    torch.manual_seed(0)
    made = CompactNetwork(1, 2, 28, width, 0.2)
    for norm in made.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
    return made.eval()


def channels(made: nn.Module) -> list[int]:
    return [one.out_channels for one in made.modules() if isinstance(one, nn.Conv2d)]


def test_channels_are_gone_in_multiples_of_eight() -> None:
    made = network()
    before = channels(made)
    prune_channels(made, IMAGES, 0.5)
    after = channels(made)
    assert all(count % 8 == 0 for count in after)
    assert after == [count // 2 for count in before]
    assert made.head.in_features == 32
    assert made.head.out_features == 2, "a class is no channel"


def test_a_pruned_network_still_answers_and_its_maps_add_up() -> None:
    made = network()
    prune_channels(made, IMAGES, 0.5)
    logits, maps, features = made.eval()(IMAGES)
    assert features.shape == (2, 32)
    torch.testing.assert_close(maps.mean((2, 3)) + made.head.bias, logits)


def test_channels_without_weight_go_first() -> None:
    made = network()
    with torch.no_grad():
        for layer in (made.blocks[0].first, made.blocks[0].first_norm):
            layer.weight[8:] = 0
        made.blocks[0].first_norm.bias[8:] = 0
        made.blocks[0].second.weight[:, 8:] = 0
    kept = made.blocks[0].first_norm.weight[:8].detach().clone()
    prune_channels(made, IMAGES, 0.5)
    torch.testing.assert_close(made.blocks[0].first_norm.weight.detach(), kept)


@pytest.mark.parametrize(
    ("members", "share", "kept", "channels_share"),
    [(1, 0.5, 1, 0.5), (2, 0.3, 2, 0.3), (2, 0.5, 1, 0.0), (2, 0.75, 1, 0.5), (5, 0.5, 3, 1 / 6)],
)
def test_whole_networks_go_first(
    members: int, share: float, kept: int, channels_share: float
) -> None:
    assert kept_members(members, share) == kept
    assert share_of_channels(members, share) == pytest.approx(channels_share, abs=1e-6)


def test_the_better_of_two_networks_stays() -> None:
    """Of two, one has learnt nothing: it goes, whichever it was."""
    whole = load(small_images.candidate().extra_files[WEIGHTS])
    untrained = CompactNetwork(1, 2, 28, 16, 0.2).state_dict()
    config = small_images.CONFIG.model_copy(update={"prune": 0.5, "members": 2})
    for good in (0, 1):
        tensors = {
            f"networks.{number}.{name.removeprefix('networks.0.')}": tensor.clone()
            for number in (0, 1)
            for name, tensor in (
                whole if number == good else {f"networks.0.{n}": t for n, t in untrained.items()}
            ).items()
        }
        learnt = Learnt("diagnose-image/r1", save(tensors))
        made = KIND.pruned_from(small_images.data(), config, SilentProgress(), learnt)
        kept = load(made.extra_files[WEIGHTS])
        assert kept.keys() == whole.keys(), "one network"
        torch.testing.assert_close(kept["networks.0.head.weight"], whole["networks.0.head.weight"])


def test_another_network_is_not_pruned() -> None:
    with pytest.raises(StrategyDoesNotApply, match="prune"):
        prune_channels(nn.Linear(2, 2), IMAGES, 0.5)


def test_the_recovery_is_shorter_and_gentler() -> None:
    again = recovering(small_images.CONFIG)
    assert again.steps_taken < small_images.CONFIG.steps_taken
    assert again.highest_rate < small_images.CONFIG.highest_rate


def test_what_was_learnt_comes_back_and_nothing_else_does() -> None:
    members = nn.Module()
    members.networks = nn.ModuleList([network()])
    content = weights_file(members)
    other = CompactNetwork(1, 2, 28, 16, 0.2).eval()
    start_from(other, "networks.0.", Learnt("diagnose-image/r1", content))
    torch.testing.assert_close(other(IMAGES).logits, network()(IMAGES).logits)
    with pytest.raises(CannotGoOn, match="diagnose-image/r1"):
        start_from(
            CompactNetwork(1, 3, 28, 16, 0.2), "networks.0.", Learnt("diagnose-image/r1", content)
        )
    with pytest.raises(CannotGoOn):
        start_from(other, "networks.0.", Learnt("diagnose-image/r1", b"nothing"))


def test_a_release_is_pruned_and_finds_the_square_again() -> None:
    assert isinstance(KIND, Prunes)
    whole = small_images.candidate()
    config = small_images.CONFIG.model_copy(update={"prune": 0.5})
    learnt = Learnt("diagnose-image/r1", whole.extra_files[WEIGHTS])
    made = KIND.pruned_from(small_images.data(), config, SilentProgress(), learnt)
    assert made.metrics["test"]["auc"].value > 0.95
    sizes = [
        next(s for s in one.steps if s.role == "core").model.ByteSize() for one in (made, whole)
    ]
    assert sizes[0] < 0.5 * sizes[1], "what is pruned is gone from the file"
    assert made.data.split_sha256 == whole.data.split_sha256
