"""Where a training runs: one device, or several processes that share the work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.utils.checkpoint import checkpoint

from model_builder.errors import DeviceLacks, StrategyDoesNotApply
from model_builder.training.config import TrainingConfig
from model_builder.training.layers import find_blocks, is_pretrained


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """Return what places network and batches, as ``torchrun`` or ``accelerate launch`` say.

    Raises:
        DeviceLacks: If the machine cannot do what is asked for.
    """
    gpu = torch.cuda.is_available()
    if config.precision == "fp16" and not gpu:
        raise DeviceLacks("training.precision=fp16", "needs a GPU; bf16 works on a CPU too")
    if config.precision == "bf16" and gpu and not torch.cuda.is_bf16_supported():
        raise DeviceLacks("training.precision=bf16", "this GPU has none; it has fp16")
    if config.shard and process_count() == 1:
        raise DeviceLacks(
            "training.shard=true", "one process has nobody to share with; start more by torchrun"
        )
    # accelerate remembers the first precision that a process asks for, and refuses another.
    AcceleratorState._reset_state()
    precision = "no" if config.precision == "fp32" or config.shard else config.precision
    # Without being told, accelerate takes processes on CPUs for ones that know nothing of each
    # other.
    return Accelerator(mixed_precision=precision, cpu=not gpu and process_count() > 1)


def process_count() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Say whether this process is the one that shows and writes."""
    return int(os.environ.get("RANK", "0")) == 0


def agree(value: str) -> str:
    """Return what the first process says; every process calls it."""
    if process_count() == 1:
        return value
    PartialState(cpu=not torch.cuda.is_available())
    return broadcast_object_list([value])[0]


def leave_the_rest_to_the_first() -> None:
    """End every process but the first: after training they have nothing to do.

    Raises:
        SystemExit: In the others, with success.
    """
    if process_count() > 1:
        PartialState().destroy_process_group()
        if not is_first_process():
            raise SystemExit(0)


def shard(model: nn.Module, accelerator: Accelerator, config: TrainingConfig) -> None:
    """Spread every weight over the processes, in place (FSDP2, block by block)."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    types = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    policy = MixedPrecisionPolicy(types[config.precision], output_dtype=torch.float32)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for block in find_blocks(model)[1]:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def whole(value: torch.Tensor) -> torch.Tensor:
    """Return a tensor with all that other processes have of it."""
    # Only a torch.distributed DTensor can; importing it to ask takes a second.
    return value.full_tensor() if hasattr(value, "full_tensor") else value


@contextmanager
def computed(model: nn.Module, config: TrainingConfig) -> Iterator[None]:
    """Compute ``model`` as ``compile`` and ``gradient_checkpointing`` say; after that, as before.

    Raises:
        StrategyDoesNotApply: If there are no blocks whose inner values could be left out.
    """
    undo = _checkpointed(model) if config.gradient_checkpointing else []
    if config.compile != "no":
        model.compile(backend=config.compile)
    try:
        yield
    finally:
        if config.compile != "no":
            model._compiled_call_impl = None
        for block in undo:
            del block.forward
        if config.gradient_checkpointing and is_pretrained(model):
            _method(model, "disable")()


def _checkpointed(model: nn.Module) -> list[nn.Module]:
    if is_pretrained(model) and model.supports_gradient_checkpointing:
        # The first block's inputs may come from what is frozen; non-reentrant does not mind.
        _method(model, "enable")({"use_reentrant": False})
        return []
    blocks = list(find_blocks(model)[1])
    if not blocks:
        raise StrategyDoesNotApply(
            "gradient_checkpointing", "the network has no list of blocks to compute twice"
        )
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return blocks


def _method(model: nn.Module, name: str) -> Callable[..., None]:
    """Return ``activation_checkpointing_…``, which had another name earlier in transformers 5."""
    newer = getattr(model, f"activation_checkpointing_{name}", None)
    return newer or getattr(model, f"gradient_checkpointing_{name}")
