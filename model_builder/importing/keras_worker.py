"""Reads a Keras 3 model on its torch backend: makes ONNX of it, and answers with it.

Run as a file by ``model_builder.importing.foreign``: each line of standard input is a request, each
line of standard output its answer, both JSON. It imports nothing of ours, so that any interpreter
with Keras, torch and onnx can run it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

OPSET = 18


def convert(model: Any, path: str) -> dict[str, Any]:
    """Write the model as ONNX; return the names of its tensors."""
    import keras
    import numpy as np
    import onnx

    examples = [
        np.zeros((2, *(size or 1 for size in given.shape[1:])), given.dtype)
        for given in model.inputs
    ]
    model(examples[0] if len(examples) == 1 else examples)  # Keras exports what was called once
    model.export(path, format="onnx", verbose=False, opset_version=OPSET)
    exported = onnx.load(path)
    names = [value.name for value in exported.graph.output]
    # The exporter numbers the outputs; Keras calls them after their layers.
    known = list(model.output_names)
    if len(known) == len(names) and not set(known) & _inner_names(exported):
        _rename(exported, dict(zip(names, known, strict=True)))
        names = known
        onnx.save(exported, path)
    return {"version": f"keras {keras.__version__}", "outputs": names}


def answer(model: Any, inputs: dict[str, Any], outputs: list[str]) -> dict[str, Any]:
    """Return the model's own answers."""
    import numpy as np

    given = [inputs[value.name] for value in model.inputs]
    found = model.predict(given[0] if len(given) == 1 else given, batch_size=1024, verbose=0)
    found = found if isinstance(found, list | tuple) else [found]
    return dict(zip(outputs, (np.asarray(each) for each in found), strict=True))


def _inner_names(model: Any) -> set[str]:
    given = {name for node in model.graph.node for name in node.input}
    return given | {name for node in model.graph.node for name in node.output}


def _rename(model: Any, names: dict[str, str]) -> None:
    for value in model.graph.output:
        value.name = names[value.name]
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            node.output[place] = names.get(name, name)
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)


def main() -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the framework prints is no answer
    import keras
    import numpy as np

    model: Any = None
    outputs: list[str] = []
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "convert":
                model = keras.models.load_model(request["model"], compile=False)
                said = convert(model, request["onnx"])
                outputs = said["outputs"]
            else:
                with np.load(request["inputs"]) as inputs:
                    found = answer(model, dict(inputs), outputs)
                np.savez(request["outputs"], **found)
                said = {}
        except Exception as error:  # of any kind: the one who asked tells the user
            said = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
