"""Which layout of a release answers on a Triton: its ensemble, or all steps in one model.

On a CPU each step of an ensemble costs a hop from model to model that the fused model has not.
On a GPU the ensemble is better: its core is compiled and batched by itself, and the strings
before and after stay on the CPU. Where a model runs is decided by the configuration that Triton
chose (``--model-config-name``): if nobody says which that is, Triton is asked.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import grpc
from tritonclient.grpc import model_config_pb2

from gateway.triton.loading import Loader
from triton_models.release import ENSEMBLE, FUSED, Manifest, Variant

AUTO: Literal["auto"] = "auto"
Choice = Literal["auto", "ensemble", "fused"]
"""What is asked for; ``auto`` leaves it to where the release runs."""


def lacks(asked: Choice, manifest: Manifest) -> bool:
    """Return whether a release lacks the variant that is asked for."""
    return asked != AUTO and asked not in manifest.variants


async def choose_variant(
    asked: Choice, manifest: Manifest, loader: Loader, profile: str | None = None
) -> Variant:
    """Return the variant that answers for a release on a Triton.

    What has to be loaded to be looked at, and is not part of that variant, is unloaded again.

    Args:
        asked: What is wanted.
        manifest: Of the release.
        loader: Loads there.
        profile: What Triton was given as ``--model-config-name``, ``""`` for nothing; ``None``:
            that is not known, and Triton is asked where the models run.

    Raises:
        grpc.RpcError: If Triton cannot load or describe a model.
    """
    if asked != AUTO:
        return asked
    if FUSED not in manifest.variants:
        return ENSEMBLE
    if profile is not None:
        return ENSEMBLE if profile and _cores_with(manifest, f"{profile}.pbtxt") else FUSED
    fused = manifest.model_of(FUSED)
    client = loader.client
    brought: list[str] = []
    variant: Variant = FUSED
    for model in (*_cores_with(manifest), fused):
        if not await client.is_loaded(model):
            await loader.load(model, manifest)
            brought.append(model)
        if runs_on_gpu(await client.config(model)):
            variant = ENSEMBLE
            break
    for model in brought:
        if (model == fused) != (variant == FUSED):
            with suppress(grpc.RpcError):  # it only takes up room
                await loader.unload(model)
    return variant


def runs_on_gpu(config: model_config_pb2.ModelConfig) -> bool:
    """Return whether Triton runs any instance of a model on a GPU."""
    gpu = model_config_pb2.ModelInstanceGroup.KIND_GPU
    return any(group.kind == gpu for group in config.instance_group)


def _cores_with(manifest: Manifest, file: str = "") -> list[str]:
    """Return the networks of a release that have a profile besides the one for any machine.

    Args:
        manifest: Of the release.
        file: Of the profile; ``""``: any.
    """
    return [
        step.model
        for step in manifest.steps
        if step.role == "core"
        and any(path.startswith(f"{step.model}/configs/{file}") for path in manifest.files)
    ]
