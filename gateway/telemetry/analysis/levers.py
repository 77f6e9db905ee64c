"""What can be changed where a stage takes long: settings that exist, by name and owner.

``(gateway)`` names fields of :class:`gateway.settings.Settings`, ``(chart)`` values of the chart;
releases are hashed, so nothing in their files is among them.
"""

from __future__ import annotations

from gateway.telemetry.analysis import stages as stage_names

SHORTER_WINDOW = "max_batch_wait_s (gateway): lower it"
LONGER_WINDOW = "max_batch_wait_s (gateway): raise it, if it is below 0.003"
IN_FLIGHT = "max_in_flight (gateway): raise it"
WORKERS = "workers (gateway): more, if its cores are not all busy"
INSTANCES = "triton_instances (gateway, embedded); triton.replicas (chart)"
MORE_TRITONS = "triton (gateway): more of them; triton.replicas (chart)"
NEARER_TRITON = "triton (gateway): one nearer by; shared_memory_bytes (gateway)"
FUSED = "variant: fused (gateway)"
FASTER_MACHINE = "triton.gpu.count (chart)"
FASTER = f"{FUSED}; {FASTER_MACHINE}"
SAMPLING = "trace_sample_ratio (gateway): raise it, if it is below 1"
HEALTHIER_TRITONS = "triton (gateway): without the ones that fail; hedging (gateway)"
LIVE_TRITONS = "triton (gateway): ones that answer; triton.replicas (chart)"
LIMITS = "max_waiting (gateway); client_limits (gateway); domain_limits (gateway)"

LEVERS = (
    SHORTER_WINDOW, LONGER_WINDOW, IN_FLIGHT, WORKERS, INSTANCES, MORE_TRITONS, NEARER_TRITON,
    FUSED, FASTER_MACHINE, FASTER, SAMPLING, HEALTHIER_TRITONS, LIVE_TRITONS, LIMITS,
)  # fmt: skip
"""All of them."""

_OF_STAGES = {
    stage_names.CLIENT_NETWORK.key: WORKERS,
    stage_names.GATEWAY.key: WORKERS,
    stage_names.DECODE.key: WORKERS,
    stage_names.QUEUE.key: INSTANCES,  # nearly always calls wait there for batches before them
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


def lever_of(stage: str, *, fused: bool = False) -> str:
    """Return what to change where a stage takes long; '' for spans that are none of ours.

    Args:
        stage: Its key.
        fused: Whether the release is served as one model already.
    """
    if stage.startswith("step."):
        lever = _OF_PARTS[stage.rpartition(".")[2]]
    else:
        lever = _OF_STAGES.get(stage, "")
    if fused:
        return {FUSED: "", FASTER: FASTER_MACHINE}.get(lever, lever)
    return lever
