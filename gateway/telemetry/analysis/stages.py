"""The stages of a call: what each span's time is called, in the order in which they happen.

Every stage has a kind, which says what could be done about it: *service* is work, *queue* is
waiting for others' work, *transport* is on the way, *overhead* is what is between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

_MOST_OTHER = 40
"""Names of spans that are not ours which become stages; the rest is one."""


class Kind(StrEnum):
    """What a stage is."""

    SERVICE = "service"
    QUEUE = "queue"
    TRANSPORT = "transport"
    OVERHEAD = "overhead"


@dataclass(frozen=True, order=True)
class Stage:
    """One stage.

    Attributes:
        place: Where it stands in a table.
        key: Its name for programs: ``decode``, ``step.encode.queue``.
        label: Its name for people.
        kind: What it is.
    """

    place: int
    key: str
    label: str
    kind: Kind

    @property
    def step(self) -> str:
        """The step of the model that it belongs to, or ''."""
        whole, is_step = self.key.removeprefix("step."), self.key.startswith("step.")
        return whole.rpartition(".")[0] if is_step else ""


CLIENT_NETWORK = Stage(0, "client", "client ↔ gateway", Kind.TRANSPORT)
GATEWAY = Stage(10, "gateway", "gateway, not in a stage", Kind.OVERHEAD)
DECODE = Stage(20, "decode", "decode", Kind.SERVICE)
QUEUE = Stage(30, "queue", "queue, until it leaves", Kind.QUEUE)
ADMISSION = Stage(40, "admission", "admission", Kind.QUEUE)
BATCH = Stage(50, "batch", "batch, not at Triton", Kind.OVERHEAD)
TRITON_NETWORK = Stage(60, "triton_network", "gateway ↔ Triton", Kind.TRANSPORT)
RETRY = Stage(62, "retry", "Triton, asked in vain", Kind.OVERHEAD)
TRITON_UNSEEN = Stage(65, "triton", "Triton (its spans are missing)", Kind.SERVICE)
TRITON_SERVER = Stage(70, "triton_server", "Triton, front end", Kind.OVERHEAD)
ENSEMBLE = Stage(80, "ensemble", "between the steps", Kind.OVERHEAD)
ENCODE = Stage(900, "encode", "encode", Kind.SERVICE)

FIXED = (CLIENT_NETWORK, GATEWAY, DECODE, QUEUE, ADMISSION, BATCH, TRITON_NETWORK,
          RETRY, TRITON_UNSEEN, TRITON_SERVER, ENSEMBLE, ENCODE)  # fmt: skip
ATTEMPT = "attempt"
"""What the gateway asked of a Triton before the attempt that was answered."""
BY_NAME = {
    "decode": DECODE,
    "queue": QUEUE,
    "admission": ADMISSION,
    "batch": BATCH,
    ATTEMPT: RETRY,
    "encode": ENCODE,
}
"""The gateway's own spans; one that is not here is a stage of its own name."""

STEP_PARTS = (
    ("queue", Kind.QUEUE),
    ("input", Kind.SERVICE),
    ("infer", Kind.SERVICE),
    ("output", Kind.SERVICE),
    ("other", Kind.OVERHEAD),
)


def other_stage(name: str, known: Sequence[Stage]) -> Stage:
    """Return the stage of a span that is not of ours."""
    many = sum(one.key.startswith("other.") for one in known) >= _MOST_OTHER
    text = "other spans" if many else name
    return Stage(55, f"other.{text}", text, Kind.OVERHEAD)


def stages_of_step(step: str, place: int) -> Iterator[Stage]:
    """Give the stages of a step, in the order of :data:`STEP_PARTS`; ``place`` is the step's."""
    for offset, (part, kind) in enumerate(STEP_PARTS):
        at = 100 + len(STEP_PARTS) * place + offset
        yield Stage(at, f"step.{step}.{part}", f"{step}: {part}", kind)
