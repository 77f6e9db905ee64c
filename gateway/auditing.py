"""What the settings say is to be written down of calls, as objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message_factory import GetMessageClass

from gateway.audit.access_log import AccessLog
from gateway.settings import Settings
from gateway.starting import StartFailed
from gateway.telemetry.metrics.instruments import DROPPED_ACCESS_LINES, DROPPED_PAYLOADS
from gateway.telemetry.metrics.readings import Reading
from gateway.transport.api import DIAGNOSE, RECOMMEND, RISK
from gateway.transport.auditing import Auditing

if TYPE_CHECKING:  # pyarrow is for gateways only that keep payloads
    from gateway.audit.payload_log import PayloadLog
    from gateway.audit.payload_rows import PayloadRows


@dataclass(frozen=True)
class Audit:
    """What is written down of calls.

    Attributes:
        auditing: Takes note of each call.
        access: Writes a line for each; ``None``: none is wanted.
        payloads: Keeps some of the messages; ``None``: none are wanted.
        rows: Says what of these is kept.
    """

    auditing: Auditing
    access: AccessLog | None
    payloads: PayloadLog | None
    rows: PayloadRows | None = None

    def change(self, settings: Settings) -> None:
        """Keep other payloads from now on."""
        self.auditing.payload_ratio = settings.payload_log_ratio
        if self.rows is not None:
            self.rows.redact(settings.payload_log_redact)

    def readings(self) -> Iterator[Reading]:
        """Yield how much could not be written."""
        if self.access is not None:
            yield Reading(DROPPED_ACCESS_LINES, (), self.access.dropped)
        if self.payloads is not None:
            yield Reading(DROPPED_PAYLOADS, (), self.payloads.dropped)


@contextmanager
def writing_down(settings: Settings, worker: str) -> Iterator[Audit | None]:
    """Give what writes calls down, if that is wanted; on leaving, what is left is written.

    Args:
        settings: Of the worker.
        worker: Its name, for files of its own.

    Raises:
        StartFailed: If payloads are wanted, and what writes them is not installed.
    """
    if settings.access_log is None and settings.payload_log is None:
        yield None
        return
    access = AccessLog(settings.access_log) if settings.access_log is not None else None
    payloads, rows = _payload_log(settings, worker)
    auditing = Auditing(
        access.put if access is not None else None,
        payloads.put if payloads is not None else None,
        settings.payload_log_ratio,
        rows.has if rows is not None else lambda method: False,
    )
    try:
        yield Audit(auditing, access, payloads, rows)
    finally:
        for one in (access, payloads):
            if one is not None:
                one.close()


def _payload_log(settings: Settings, worker: str) -> tuple[PayloadLog | None, PayloadRows | None]:
    if settings.payload_log is None:
        return None, None
    try:
        from gateway.audit.payload_log import PayloadLog
    except ImportError as error:
        raise StartFailed(
            f"payload_log needs {error.name}: pip install 'trident[payloads]'"
        ) from error
    from gateway.audit.payload_rows import MessageTypes, PayloadRows

    types = {
        f"{service.full_name}/{method.name}": MessageTypes(
            GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        )
        for service in (RECOMMEND, DIAGNOSE, RISK)
        for method in service.methods
        if not method.client_streaming
    }
    rows = PayloadRows(types, settings.payload_log_redact)
    log = PayloadLog(
        settings.payload_log,
        worker,
        rows,
        file_rows=settings.payload_log_file_rows,
        files=settings.payload_log_files,
    )
    return log, rows
