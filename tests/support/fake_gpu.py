"""A GPU and ``trtexec`` as programs on the PATH, for machines that have neither.

The fake ``trtexec`` checks its arguments as the real one would, "compiles" by keeping the ONNX
file behind a header, and runs that with ONNX Runtime.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

VERSION = "10.13.3.9"

_NVIDIA_SMI = """#!/bin/sh
[ "$1" = --query-gpu=compute_cap,name ] && [ "$2" = --format=csv,noheader ] || exit 6
echo '{capability}, NVIDIA H100 80GB HBM3'
"""

_TRTEXEC = '''#!{python}
import json, os, sys
import numpy as np
import onnx
import onnxruntime as ort

HEADER = b"a plan that nothing but this script can run\\n"
KNOWN = set("""onnx saveEngine loadEngine minShapes optShapes maxShapes memPoolSize stronglyTyped
noTF32 skipInference versionCompatible hardwareCompatibilityLevel timingCacheFile loadInputs shapes
exportOutput iterations warmUp duration""".split())
OFF = float(os.environ.get("FAKE_TRTEXEC_OFF", "0"))

print("&&&& RUNNING TensorRT.trtexec [TensorRT v101303] [b9] #", " ".join(sys.argv))
with open(os.environ["FAKE_TRTEXEC_LOG"], "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")


def fail(why):
    print("[11/25/2026-10:00:00] [E] " + why)
    print("&&&& FAILED TensorRT.trtexec [TensorRT v101303] [b9]")
    sys.exit(1)


given = dict(one[2:].partition("=")[::2] for one in sys.argv[1:])
if unknown := set(given) - KNOWN:
    fail(f"Unknown option: --{{unknown.pop()}}")
if why := os.environ.get("FAKE_TRTEXEC_FAILS"):
    fail(why)


def shapes(text):
    return {{
        name: [int(size) for size in sizes.split("x")]
        for name, _, sizes in (one.partition(":") for one in text.split(","))
    }}


if "onnx" in given:
    model = onnx.load(given["onnx"])
    names = {{value.name for value in model.graph.input}}
    ranges = [shapes(given[kind + "Shapes"]) for kind in ("min", "opt", "max")]
    for one in ranges:
        if set(one) != names:
            fail(f"Dynamic dimensions required for input: {{sorted(names - set(one))}}")
    for name in names:
        least, usual, most = (one[name] for one in ranges)
        if not all(a <= b <= c for a, b, c in zip(least, usual, most, strict=True)):
            fail(f"Profile of {{name}} does not rise")
    assert given["memPoolSize"].startswith("workspace:") and "skipInference" in given
    with open(given["saveEngine"], "wb") as plan:
        plan.write(HEADER + model.SerializeToString())
else:
    with open(given["loadEngine"], "rb") as plan:
        content = plan.read()
    if not content.startswith(HEADER):
        fail("Error deserializing engine")
    model = onnx.load_model_from_string(content[len(HEADER):])
    sizes = shapes(given["shapes"])
    inputs = {{}}
    files = dict(one.split(":") for one in given["loadInputs"].split(","))
    for value in model.graph.input:
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        inputs[value.name] = np.fromfile(files[value.name], kind).reshape(sizes[value.name])
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    made = session.run(None, inputs)
    answer = [
        {{
            "name": output.name,
            "dimensions": "x".join(map(str, array.shape)),
            "values": (array.ravel() + OFF).tolist(),
        }}
        for output, array in zip(session.get_outputs(), made, strict=True)
    ]
    with open(given["exportOutput"], "w") as file:
        json.dump(answer, file)
print("&&&& PASSED TensorRT.trtexec [TensorRT v101303] [b9]")
'''


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, capability: str = "9.0") -> Path:
    """Put both programs on the PATH; return the file with the arguments of each call, as JSON."""
    folder.mkdir(exist_ok=True)
    log = folder / "calls.jsonl"
    for name, text in (
        ("nvidia-smi", _NVIDIA_SMI.format(capability=capability)),
        ("trtexec", _TRTEXEC.format(python=sys.executable)),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_TRTEXEC_LOG", str(log))
    return log
