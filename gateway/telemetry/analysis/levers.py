"""What can be changed where a stage takes long: settings that exist, by name and owner.

``(gateway)`` names fields of :class:`gateway.settings.Settings`, ``(chart)`` values of the chart;
releases are hashed, so nothing in their files is among them.
"""

from __future__ import annotations

from gateway.telemetry.analysis import stages as stage_names

WINDOW = "max_batch_wait_s (gateway)"
BATCHES = "max_batch_wait_s (gateway); max_batch_rows (gateway)"
IN_FLIGHT = "max_in_flight (gateway)"
WORKERS = "workers (gateway)"
INSTANCES = "triton_instances (gateway, embedded); triton.replicas (chart)"
MORE_TRITONS = "triton (gateway): more of them; triton.replicas (chart)"
NEARER_TRITON = "triton (gateway): one nearer by; shared_memory_bytes (gateway)"
FUSED = "variant: fused (gateway)"
FASTER = "variant: fused (gateway); triton.gpu.count (chart)"
SAMPLING = "trace_sample_ratio (gateway)"
HEALTHIER_TRITONS = "triton (gateway): without the ones that fail; hedging (gateway)"

LEVERS = (
    WINDOW, BATCHES, IN_FLIGHT, WORKERS, INSTANCES, MORE_TRITONS, NEARER_TRITON, FUSED, FASTER,
    SAMPLING, HEALTHIER_TRITONS,
)  # fmt: skip
"""All of them."""

_OF_STAGES = {
    stage_names.CLIENT_NETWORK.key: WORKERS,
    stage_names.GATEWAY.key: WORKERS,
    stage_names.DECODE.key: WORKERS,
    stage_names.QUEUE.key: WINDOW,
    stage_names.ADMISSION.key: IN_FLIGHT,
    stage_names.BATCH.key: WORKERS,
    stage_names.TRITON_NETWORK.key: NEARER_TRITON,
    stage_names.RETRY.key: HEALTHIER_TRITONS,
    stage_names.TRITON_UNSEEN.key: MORE_TRITONS,
    stage_names.TRITON_SERVER.key: MORE_TRITONS,
    stage_names.ENSEMBLE.key: FUSED,
    stage_names.ENCODE.key: WORKERS,
}
_OF_PARTS = {"queue": INSTANCES, "infer": FASTER, "input": FUSED, "output": FUSED, "other": FUSED}


def lever_of(stage: str) -> str:
    """Return what to change where a stage takes long; '' for spans that are none of ours."""
    if stage.startswith("step."):
        return _OF_PARTS[stage.rpartition(".")[2]]
    return _OF_STAGES.get(stage, "")
