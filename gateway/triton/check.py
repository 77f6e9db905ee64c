"""Whether what Triton serves is what the release and the line's signature say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tritonclient.grpc import model_config_pb2, service_pb2

from triton_models.release import Manifest, Tensor, rows_of_triton
from triton_models.signatures import (
    ANY,
    DIAGNOSE_IMAGE,
    DIAGNOSE_NOTE,
    SIGNATURES,
    TensorSpec,
)

_Tensors = Mapping[str, Tensor]


def differences(
    manifest: Manifest,
    metadata: service_pb2.ModelMetadataResponse,
    config: model_config_pb2.ModelConfig,
) -> list[str]:
    """Return every difference in words; none if the release can be served.

    Args:
        manifest: What the release says.
        metadata: What Triton serves; each shape starts with the batch axis, if it has one.
        config: What Triton serves it with.
    """
    signature = SIGNATURES.get(manifest.line)
    if signature is None:
        return [f"line '{manifest.line}' has no declared tensors in this gateway"]
    batched = config.max_batch_size > 0
    found: list[str] = []
    if signature is DIAGNOSE_IMAGE and manifest.image is None:
        found.append("the release does not say what images are made into")
    if signature is DIAGNOSE_NOTE and manifest.note is None:
        found.append("the release does not say how much of a note it reads")
    for kind, specs, declared, served, configured in (
        ("input", signature.inputs, manifest.inputs, metadata.inputs, config.input),
        ("output", signature.outputs, manifest.outputs, metadata.outputs, config.output),
    ):
        found += _release_against_signature(kind, specs, declared, _sizes(manifest))
        in_metadata = {
            t.name: Tensor(name=t.name, data_type=t.datatype, dims=tuple(t.shape[batched:]))
            for t in served
        }
        in_config = {
            t.name: Tensor(name=t.name, data_type=_data_type(t.data_type), dims=tuple(t.dims))
            for t in configured
        }
        found += _triton_against_release(kind, declared, in_metadata, "serves")
        if in_config != in_metadata:
            found += _triton_against_release(kind, declared, in_config, "is configured for")
    if config.max_batch_size < (rows := rows_of_triton(manifest)):
        found.append(
            f"max_batch_size: the API allows {rows} rows, Triton takes {config.max_batch_size}"
        )
    return found


def _sizes(manifest: Manifest) -> dict[str, int]:
    """Return how long the axes are that the manifest decides, by their letter."""
    sizes = {
        "F": len(manifest.features),
        "N": len(manifest.number_places),
        "S": len(manifest.category_places),
        "K": len(manifest.labels),
    }
    if (image := manifest.image) is not None:
        sizes |= {"Y": image.height, "X": image.width, "C": image.channels}
    return sizes


def _release_against_signature(
    kind: str, specs: Iterable[TensorSpec], declared: Sequence[Tensor], sizes: Mapping[str, int]
) -> list[str]:
    tensors = {tensor.name: tensor for tensor in declared}
    found = []
    for spec in specs:
        tensor = tensors.pop(spec.name, None)
        dims = tuple(sizes.get(axis.letter, axis.size) for axis in spec.axes)
        wanted = Tensor(name=spec.name, data_type=spec.data_type, dims=dims)
        if spec.optional and 0 in dims:  # a schema without such features
            if tensor is not None:
                found.append(f"{kind} '{spec.name}': the release has it, but no feature for it")
        elif tensor is None and spec.optional and not any(a.letter in sizes for a in spec.axes):
            continue  # no feature asks for it: the release decides
        elif tensor is None:
            found.append(f"{kind} '{spec.name}': must be {_text(wanted)}, the release lacks it")
        elif not _fits(tensor, wanted, spec):
            found.append(
                f"{kind} '{spec.name}': must be {_text(wanted)}, the release says {_text(tensor)}"
            )
    found += [f"{kind} '{name}': the line has no such {kind}" for name in tensors]
    return found


def _triton_against_release(
    kind: str, declared: Iterable[Tensor], in_triton: _Tensors, verb: str
) -> list[str]:
    tensors = dict(in_triton)
    found = []
    for wanted in declared:
        tensor = tensors.pop(wanted.name, None)
        says = f"{kind} '{wanted.name}': the release says {_text(wanted)}, Triton"
        if tensor is None:
            found.append(f"{says} lacks it")
        elif tensor != wanted:
            found.append(f"{says} {verb} {_text(tensor)}")
    found += [
        f"{kind} '{tensor.name}': the release lacks it, Triton {verb} {_text(tensor)}"
        for tensor in tensors.values()
    ]
    return found


def _fits(tensor: Tensor, wanted: Tensor, spec: TensorSpec) -> bool:
    """Whether a tensor is as wanted; one that varies takes what the features decide."""
    return (
        tensor.data_type == wanted.data_type
        and len(tensor.dims) == len(wanted.dims)
        and all(
            want in (ANY, size) or (size == ANY and axis.size == ANY)
            for size, want, axis in zip(tensor.dims, wanted.dims, spec.axes, strict=True)
        )
    )


def _data_type(number: int) -> str:
    name: str = model_config_pb2.DataType.Name(number).removeprefix("TYPE_")
    # Everywhere but in its configuration, Triton says BYTES for a string.
    return "BYTES" if name == "STRING" else name


def _text(tensor: Tensor) -> str:
    return f"{tensor.data_type} {list(tensor.dims)}"
