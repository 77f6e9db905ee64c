"""The ONNX Runtime sessions of one model: the whole, and cut to some of its outputs.

ONNX Runtime runs every node, whatever outputs are asked for. A session of the nodes that lead to
the outputs asked for does the same work without the rest: an explanation that nobody wants, say.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import onnxruntime as ort

from triton_models.pruning import prune
from triton_models.row_blocks import Array, RowBlocks

_MOST_CUTS = 8
"""Sets of outputs that get a session of their own; each holds the small weights that it needs."""

SHARED_BYTES = 64 * 1024 * 1024
"""The file from which on the sessions share their weights: a catalogue of a million items, say."""
_LARGE_WEIGHTS = 1024 * 1024


class Sessions:
    """Runs one ONNX file.

    Args:
        path: The file.
        options: Makes the options of a session.
        warn: Is told why a session could not be cut; the whole one answers then.
    """

    def __init__(
        self, path: str, options: Callable[[], ort.SessionOptions], warn: Callable[[str], object]
    ) -> None:
        self._path = path
        self._options = options
        self._warn = warn
        large = os.path.getsize(path) >= SHARED_BYTES
        self._shared = _large_weights(path) if large else {}
        self._whole = self._session(path)
        self.inputs = {value.name: value.type for value in self._whole.get_inputs()}
        self.outputs = tuple(value.name for value in self._whole.get_outputs())
        self._blocks = RowBlocks(path, self._whole.get_modelmeta().custom_metadata_map)
        self._cut: dict[tuple[str, ...], ort.InferenceSession] = {}
        self._cutters: dict[tuple[str, ...], threading.Thread] = {}

    def run(self, names: tuple[str, ...], feeds: Mapping[str, Array]) -> list[Array]:
        """Return the outputs called ``names``, which must be in the order of ``outputs``."""
        session = self._whole if names == self.outputs else self._cut_to(names)
        return list(self._blocks.run(partial(session.run, names), feeds))

    def wait(self) -> None:
        """Return when every session that was begun is there."""
        for cutter in list(self._cutters.values()):
            cutter.join()

    def _cut_to(self, names: tuple[str, ...]) -> ort.InferenceSession:
        """Return the session of some outputs; until it is there, the whole one."""
        session = self._cut.get(names)
        if session is not None:
            return session
        if names and names not in self._cutters and len(self._cutters) < _MOST_CUTS:
            cutter = threading.Thread(target=self._make, args=(names,), daemon=True)
            self._cutters[names] = cutter
            cutter.start()
        return self._whole

    def _make(self, names: tuple[str, ...]) -> None:
        try:
            model = _cut(self._path, names)
            self._cut[names] = self._whole if model is None else self._session(model)
        except Exception as error:  # it is only slower without
            self._warn(f"{self._path} cannot be cut to {', '.join(names)}: {error}")

    def _session(self, model: str | bytes) -> ort.InferenceSession:
        options = self._options()
        for name, weights in self._shared.items():
            options.add_initializer(name, weights)
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _large_weights(path: str) -> dict[str, ort.OrtValue]:
    """Return the large weights of a file by name; whoever gives them to a session keeps them."""
    import onnx
    from onnx import numpy_helper

    return {
        weights.name: ort.OrtValue.ortvalue_from_numpy(numpy_helper.to_array(weights))
        for weights in onnx.load(path).graph.initializer
        if len(weights.raw_data) >= _LARGE_WEIGHTS
    }


def _cut(path: str, names: Sequence[str]) -> bytes | None:
    """Return the model with these outputs only; ``None`` if they need all of it."""
    import onnx  # takes a while, and many models are never cut

    model = onnx.load(path)
    wanted = [value for value in model.graph.output if value.name in names]
    del model.graph.output[:]
    model.graph.output.extend(wanted)
    if not prune(model.graph):
        return None
    content: bytes = model.SerializeToString()
    return content
