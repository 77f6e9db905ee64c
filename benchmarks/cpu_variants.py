"""How many times as fast the networks of children are as those of their parent, on this machine.

    .venv/bin/python benchmarks/cpu_variants.py diagnose-image/r1 --children r1.int8,r1.pruned

The core steps of all of them lie on one embedded Triton, and are asked the same rows in turn, other
ones in each turn: what else the machine does meets all alike, and a long row does too. The time is
Triton's own *compute*: from when it has a request's tensors to when it has the answer's. The
embedded Triton runs ONNX Runtime in a Python process beside it, and *compute* has the way there and
back; so a network that does nothing, with the same inputs and outputs, is asked in the same turns.
``net`` leaves its time out: that is what a Triton with a backend of its own, such as NVIDIA's image
has, would come near.

The children are in the store: ``model-builder optimize`` puts them there. Where a release has
several core steps, all of them are shown, and their sum.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import onnx
import tritonclient.grpc as triton
from google.protobuf import text_format
from onnx import helper, numpy_helper
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import model_config_pb2 as mc
from tritonclient.utils import np_to_triton_dtype

from model_builder.export.chain import StepChain
from model_builder.export.joining import tensors_of
from model_builder.export.onnx import serialised
from model_builder.export.running import Arrays
from model_builder.opened_release import Opened, opened_release
from model_builder.variants.timing import ComputeClock, drawn
from triton_models.server import EmbeddedTriton
from triton_models.signatures import MAX_BATCH_ROWS
from triton_models.store import ReleaseStore

FLOOR = "(nothing)"
SUM = "all core steps"
_WARM_UP = 5


@dataclass(frozen=True)
class Measured:
    """One network at one batch size."""

    release: str
    step: str
    rows: int
    compute_ms: float
    """Median."""
    faster: float
    """Times as fast as the parent's."""
    faster_net: float
    """The same without what a network that does nothing takes."""


def nothing_like(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network with the same border that computes nothing: zeros, of each row as many."""
    first = model.graph.input[0].name
    nodes = [
        helper.make_node("Shape", [first], ["rows"], start=0, end=1),
    ]
    weights = []
    for number, value in enumerate(model.graph.output):
        of = value.type.tensor_type
        inner = [dim.dim_value or 1 for dim in of.shape.dim[1:]]
        zero = np.zeros((1,) * (len(inner) + 1), helper.tensor_dtype_to_np_dtype(of.elem_type))
        weights += [
            numpy_helper.from_array(np.array(inner, np.int64), f"inner{number}"),
            numpy_helper.from_array(zero, f"zero{number}"),
        ]
        nodes += [
            helper.make_node("Concat", ["rows", f"inner{number}"], [f"shape{number}"], axis=0),
            helper.make_node("Expand", [f"zero{number}", f"shape{number}"], [value.name]),
        ]
    graph = helper.make_graph(nodes, "nothing", model.graph.input, model.graph.output, weights)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=model.ir_version)


def write_network(folder: Path, name: str, model: onnx.ModelProto) -> None:
    """Write a network into a Triton model repository, one instance on the CPU."""

    def border(values: Sequence[onnx.ValueInfoProto], kind: type) -> list[Any]:
        return [
            kind(name=one.name, dims=one.dims, data_type=f"TYPE_{one.data_type}")
            for one in tensors_of(values, name)
        ]

    config = mc.ModelConfig(
        name=name,
        backend="onnxruntime",
        max_batch_size=MAX_BATCH_ROWS,
        input=border(model.graph.input, mc.ModelInput),
        output=border(model.graph.output, mc.ModelOutput),
    )
    config.instance_group.add(kind=mc.ModelInstanceGroup.KIND_CPU, count=1)
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "1" / "model.onnx").write_bytes(serialised(model))
    text = text_format.MessageToString(config)
    (folder / name / "config.pbtxt").write_text(text, encoding="utf-8")


def inputs_of_steps(parent: Opened, rows: int, count: int) -> list[dict[str, Arrays]]:
    """Return what each step of a release is given for ``count`` batches of recorded rows."""
    chain, recorded = StepChain(parent.steps), parent.recorded
    return [chain.given(recorded.batch(each)[0]) for each in drawn(recorded.rows, rows, count)]


class Client:
    """Asks models of one Triton, and reads how long they compute."""

    def __init__(self, target: str) -> None:
        self._client = triton.InferenceServerClient(target)
        self._clocks: dict[str, ComputeClock] = {}

    def load(self, model: str) -> None:
        """Have a model loaded."""
        self._client.load_model(model)
        self._clocks[model] = ComputeClock(self._client, [model])

    def compute_ms(self, model: str, inputs: Mapping[str, npt.NDArray[Any]]) -> float:
        """Ask once; return how long it computed."""
        asked = []
        for name, array in inputs.items():
            given = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            given.set_data_from_numpy(array)
            asked.append(given)
        self._client.infer(model, asked)
        return self._clocks[model].lap_ms()[model]


def measured(
    releases: Mapping[str, Opened], parent: str, batches: Mapping[int, int]
) -> Iterator[Measured]:
    """Ask the core steps of all releases in turn."""
    steps = [step.name for step in releases[parent].steps if step.role == "core"]
    networks = {
        (name, step.name): step.model
        for name, opened in releases.items()
        for step in opened.steps
        if step.role == "core"
    }
    networks |= {(FLOOR, step): nothing_like(networks[parent, step]) for step in steps}
    names = {key: f"network_{number}" for number, key in enumerate(networks)}
    with tempfile.TemporaryDirectory(prefix="trident-variants-") as folder:
        for key, model in networks.items():
            write_network(Path(folder), names[key], model)
        with EmbeddedTriton(Path(folder), restart=False) as server:
            server.wait_ready()
            client = Client(server.target)
            for name in names.values():
                client.load(name)
            for rows, count in batches.items():
                times: dict[tuple[str, str], list[float]] = {key: [] for key in networks}
                batches_given = inputs_of_steps(releases[parent], rows, count + _WARM_UP)
                for sample, given in enumerate(batches_given):
                    for key, name in names.items():
                        ms = client.compute_ms(name, given[key[1]])
                        if sample >= _WARM_UP:
                            times[key].append(ms)
                medians = {key: float(np.median(found)) for key, found in times.items()}
                yield from _compared(medians, [*releases, FLOOR], steps, parent, rows)


def _compared(
    medians: dict[tuple[str, str], float],
    names: list[str],
    steps: list[str],
    parent: str,
    rows: int,
) -> Iterator[Measured]:
    if len(steps) > 1:
        for name in names:
            medians[name, SUM] = sum(medians[name, step] for step in steps)
        steps = [*steps, SUM]
    for step in steps:
        theirs, floor = medians[parent, step], medians[FLOOR, step]
        for name in names:
            mine = medians[name, step]
            net = (theirs - floor) / max(mine - floor, 1e-6)
            yield Measured(name, step, rows, mine, theirs / mine, net)


@click.command()
@click.argument("parent", metavar="LINE/RELEASE")
@click.option("--store", default="triton_models/store", show_default=True)
@click.option("--children", required=True, help="Names of releases, with ',' between them.")
@click.option("--children-store", help="By default the same; `optimize --work W` has one in W.")
@click.option("--samples", default=150, show_default=True, help="At batch 1; fewer at 32.")
@click.option("--json", "as_json", is_flag=True)
def main(
    parent: str, store: str, children: str, children_store: str | None, samples: int, as_json: bool
) -> None:
    """Measure, and print what was found."""
    line, _, release = parent.partition("/")
    with ExitStack() as stack:
        releases = {
            name: stack.enter_context(opened_release(ReleaseStore(where), line, name))
            for where, name in [
                (store, release),
                *((children_store or store, name) for name in children.split(",")),
            ]
        }
        found = list(measured(releases, release, {1: samples, 32: max(20, samples // 3)}))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("step", "batch", "release", "compute ms", "faster", "net"):
        table.add_column(name)
    for one in found:
        ratios = (
            ("", "") if one.release == FLOOR else (f"{one.faster:.2f}", f"{one.faster_net:.2f}")
        )
        table.add_row(one.step, str(one.rows), one.release, f"{one.compute_ms:.3f}", *ratios)
    Console().print(table)


if __name__ == "__main__":
    main()
