"""Which tensor of a network takes which place of a release; every mismatch is named at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import yaml

from model_builder.errors import ConfigInvalid
from model_builder.importing.errors import ImportMismatch

_TYPES = {
    onnx.TensorProto.FLOAT: "FP32",
    onnx.TensorProto.DOUBLE: "FP64",
    onnx.TensorProto.FLOAT16: "FP16",
    onnx.TensorProto.INT32: "INT32",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.BOOL: "BOOL",
    onnx.TensorProto.STRING: "BYTES",
}


@dataclass(frozen=True)
class Slot:
    """A place that a tensor of the network must take."""

    name: str
    data_types: tuple[str, ...]
    dims: tuple[int, ...]
    """After the batch axis; -1 varies."""


@dataclass(frozen=True)
class Mapped:
    """The network's name for each place that is taken."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def read_names(pairs: Sequence[str], file: Path | None = None) -> dict[str, str]:
    """Return the network's name for each place, from a YAML file and ``PLACE=NAME`` pairs.

    Raises:
        ConfigInvalid: Names everything that is neither.
    """
    names: dict[str, str] = {}
    faults = []
    if file is not None:
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigInvalid([f"{file}: {' '.join(str(error).split())}"]) from error
        if isinstance(content, dict):
            names |= {str(place): str(name) for place, name in content.items()}
        else:
            faults.append(f"{file}: must hold a mapping of places to tensor names")
    for pair in pairs:
        place, equals, name = pair.partition("=")
        if not equals or not place or not name:
            faults.append(f"--map {pair}: must be PLACE=NAME")
        names[place] = name
    if faults:
        raise ConfigInvalid(faults)
    return names


def match(
    what: str,
    model: onnx.ModelProto,
    inputs: Sequence[Slot],
    outputs: Sequence[Slot],
    names: Mapping[str, str],
) -> Mapped:
    """Return which tensor takes which place.

    A place is taken by the tensor that ``names`` gives it, else by the one of its name, else, if
    there is one place and one tensor, by that.

    Args:
        what: The network, in messages.
        model: Its graph.
        inputs: Places that it reads from.
        outputs: Places that it must fill.
        names: The network's names, by place.

    Raises:
        ImportMismatch: Names every place, tensor, type and shape that does not fit.
    """
    initial = {each.name for each in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in initial]
    places = [slot.name for slot in (*inputs, *outputs)]
    faults = [
        f"there is no place '{place}', only {', '.join(places)}"
        for place in names
        if place not in places
    ]
    taken_inputs = _take("input", given, inputs, names, faults)
    taken_outputs = _take("output", model.graph.output, outputs, names, faults)
    faults += [
        f"input '{value.name}' {_text(value)} takes no place"
        for value in given
        if value.name not in taken_inputs.values()
    ]
    if faults:
        raise ImportMismatch(what, faults)
    return Mapped(taken_inputs, taken_outputs)


def data_type(model: onnx.ModelProto, name: str) -> str:
    """Return the data type of an input."""
    (value,) = [each for each in model.graph.input if each.name == name]
    return _TYPES.get(value.type.tensor_type.elem_type, "unknown")


def _take(
    kind: str,
    values: Sequence[onnx.ValueInfoProto],
    slots: Sequence[Slot],
    names: Mapping[str, str],
    faults: list[str],
) -> dict[str, str]:
    by_name = {value.name: value for value in values}
    taken: dict[str, str] = {}
    for slot in slots:
        name = names.get(slot.name, slot.name)
        if name not in by_name and slot.name not in names and len(slots) == len(values) == 1:
            name = values[0].name
        if name not in by_name:
            listed = ", ".join(f"'{each}' {_text(by_name[each])}" for each in by_name) or "none"
            faults.append(
                f"{kind} '{slot.name}' {_wanted(slot)} is missing; the network has {listed} "
                f"(--map {slot.name}=NAME)"
            )
            continue
        taken[slot.name] = name
        if not _fits(by_name[name], slot):
            found = _text(by_name[name])
            faults.append(f"{kind} '{slot.name}' must be {_wanted(slot)}, '{name}' is {found}")
    return taken


def _fits(value: onnx.ValueInfoProto, slot: Slot) -> bool:
    dims = _dims(value)
    if _TYPES.get(value.type.tensor_type.elem_type) not in slot.data_types or dims is None:
        return False
    batch, *rest = dims or [0]
    fits = all(
        want in (-1, size) or size == -1 for size, want in zip(rest, slot.dims, strict=False)
    )
    return batch == -1 and len(rest) == len(slot.dims) and fits


def _dims(value: onnx.ValueInfoProto) -> list[int] | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    shape = value.type.tensor_type.shape
    return [dim.dim_value if dim.HasField("dim_value") else -1 for dim in shape.dim]


def _text(value: onnx.ValueInfoProto) -> str:
    dims = _dims(value)
    kind = _TYPES.get(value.type.tensor_type.elem_type, "of an unknown type")
    return f"{kind}[{', '.join(map(_size, dims))}]" if dims is not None else f"{kind}, any shape"


def _wanted(slot: Slot) -> str:
    return f"{' or '.join(slot.data_types)}[{', '.join(map(_size, (-1, *slot.dims)))}]"


def _size(size: int) -> str:
    return "*" if size == -1 else str(size)
