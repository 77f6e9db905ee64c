"""Reads a TensorFlow SavedModel: makes ONNX of it with tf2onnx, and answers with it.

Run as a file by ``model_builder.importing.foreign``: each line of standard input is a request, each
line of standard output its answer, both JSON. It imports nothing of ours, so that an interpreter
of its own, with TensorFlow and tf2onnx, can run it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

OPSET = 18
SIGNATURE = "serving_default"
BATCH_ROWS = 1024


def load(path: str) -> tuple[Any, Any]:
    """Return a SavedModel and its serving function; the model must outlive the function."""
    import tensorflow as tf

    model = tf.saved_model.load(path)
    if SIGNATURE not in model.signatures:
        found = ", ".join(model.signatures) or "none"
        raise ValueError(f"there is no signature '{SIGNATURE}', only {found}")
    return model, model.signatures[SIGNATURE]


def convert(model: str, path: str) -> dict[str, Any]:
    """Write the serving function as ONNX; return the names of its tensors."""
    import onnx
    import tensorflow as tf

    # Its command line freezes what the function has captured; its functions leave that as inputs.
    command = ["--saved-model", model, "--signature_def", SIGNATURE, "--output", path]
    done = subprocess.run(
        [sys.executable, "-m", "tf2onnx.convert", *command, "--opset", str(OPSET)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ValueError(lines[-1] if lines else "tf2onnx ended without a word")
    return {
        "version": f"tensorflow {tf.__version__}",
        "outputs": [value.name for value in onnx.load(path).graph.output],
    }


def answer(function: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the serving function's own answers."""
    import numpy as np
    import tensorflow as tf

    rows = len(next(iter(inputs.values())))
    parts = [
        function(**{name: tf.constant(each[i : i + BATCH_ROWS]) for name, each in inputs.items()})
        for i in range(0, rows, BATCH_ROWS)
    ]
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}


def main() -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the framework prints is no answer
    import numpy as np

    kept: Any = None  # the model; without it the weights go
    function: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "convert":
                kept, function = load(request["model"])
                assert kept is not None
                said = convert(request["model"], request["onnx"])
            else:
                with np.load(request["inputs"]) as inputs:
                    np.savez(request["outputs"], **answer(function, dict(inputs)))
                said = {}
        except Exception as error:  # of any kind: the one who asked tells the user
            said = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
