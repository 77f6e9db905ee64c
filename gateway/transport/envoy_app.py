"""The ASGI application inside Envoy: opens what is served, and ends all in order.

Envoy calls it in a thread with an event loop of its own, started before Envoy listens and
stopped when it ends. The end begins here: a signal comes (see :mod:`.envoy_process`), the
health says NOT_SERVING, clients are sent away, what is in flight finishes, and then Envoy ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gateway.security.watching import Watch
from gateway.starting import StartFailed
from gateway.transport.asgi import GrpcOverAsgi
from gateway.transport.envoy_admin import EnvoyAdmin
from gateway.transport.envoy_memory import drop_unneeded_pages
from gateway.transport.envoy_process import ADMIN_SOCKET, STOP_SIGNALS
from gateway.transport.envoy_tls import watched_certificates
from gateway.transport.protection import Protection
from gateway.transport.services import Services

_log = logging.getLogger(__name__)

_LISTEN_POLL_S = 0.005
_LAST_BYTES_S = 0.5
"""For answers that are given and not yet sent, when Envoy ends."""

_END_S = 10.0
"""What this process has beyond the grace, to send its last spans and end."""

Application = Callable[[Mapping[str, Any], Any, Any], Awaitable[None]]


@dataclass(frozen=True)
class Served:
    """What an Envoy serves, and how it ends."""

    services: Services
    protection: Protection
    """What is asked of connections, and borne with."""
    port: int
    """Where Envoy listens."""
    grace_s: float
    """Time that calls in flight have to finish."""
    on_listening: Callable[[], None]
    """Is called once calls are taken."""


Opening = Callable[[], AbstractAsyncContextManager[Served]]


def build_app(opening: Opening) -> Application:
    """Return the application.

    Args:
        opening: Opens what is served when Envoy starts, in the event loop that will serve it;
            what it raises ends Envoy.
    """
    grpc: GrpcOverAsgi | None = None

    def start(served: Served) -> GrpcOverAsgi:
        nonlocal grpc
        protection = served.protection
        table = served.services.rpcs.table
        grpc = GrpcOverAsgi(table, protection.max_message_bytes, protection.message_s)
        return grpc

    # Not a coroutine function: there would be two coroutines for each call.
    def app(scope: Mapping[str, Any], receive: Any, send: Any) -> Awaitable[None]:
        if scope["type"] == "http" and grpc is not None:
            return grpc.answer(scope, receive, send)
        return _lifespan(opening, start, receive, send)

    cast(Any, app)._asgi_single_callable = True  # ASGI 3, though it is none
    return app


async def _lifespan(
    opening: Opening, start: Callable[[Served], GrpcOverAsgi], receive: Any, send: Any
) -> None:
    await receive()
    signals = _Signals()
    started = False
    try:
        async with opening() as served:
            signals.grace_s = served.grace_s
            grpc = start(served)
            await served.services.start()
            watch = _watch(served.protection)
            watch.start()
            await send({"type": "lifespan.startup.complete"})
            started = True
            life = asyncio.create_task(_live(served, signals))
            try:
                await receive()  # Envoy ends
            finally:
                life.cancel()
                await asyncio.gather(life, return_exceptions=True)
                await served.services.drain()
                await grpc.close()
                watch.stop()
    except Exception as error:
        if not isinstance(error, StartFailed):  # which was said to whoever started this
            _log.exception("What Envoy serves failed")
        if not started:
            # Envoy would print its whole configuration.
            os._exit(1)
    await send({"type": "lifespan.shutdown.complete"})


def _watch(protection: Protection) -> Watch:
    """Return what follows the certificates, not started."""
    if protection.tls is None:
        return Watch(())
    return Watch((watched_certificates(protection.tls, os.environ),))


async def _live(served: Served, signals: _Signals) -> None:
    """Tell when calls are taken, wait for a signal, end in order."""
    while not _listens(served.port):
        await asyncio.sleep(_LISTEN_POLL_S)
    drop_unneeded_pages()
    served.on_listening()
    await signals.asked.wait()
    finishing = asyncio.create_task(_finish(served))
    forced = asyncio.create_task(signals.forced.wait())
    try:
        await asyncio.wait((finishing, forced), return_when=asyncio.FIRST_COMPLETED)
    finally:
        finishing.cancel()
        forced.cancel()
        _end_envoy()


async def _finish(served: Served) -> None:
    """Send clients away, wait for what is in flight, ``grace_s`` at most."""
    admin = EnvoyAdmin(Path(os.environ[ADMIN_SOCKET]))
    await served.services.drain()
    try:
        await admin.drain()
    except OSError:  # without a GOAWAY, clients learn from their refused calls
        _log.warning("Clients could not be sent away", exc_info=True)
    await served.services.wait_idle(served.grace_s)
    with suppress(OSError):
        await admin.wait_sent(_LAST_BYTES_S)


class _Signals:
    """SIGTERM and SIGINT: the first asks to stop, the second not to wait any longer.

    They are blocked in every thread of this process, and taken by one that does nothing else.

    Attributes:
        grace_s: Time between the two, if only one comes.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()
        self.grace_s = 0.0
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._take, name="signals", daemon=True).start()

    def _take(self) -> None:
        signal.sigwait(STOP_SIGNALS)
        self._loop.call_soon_threadsafe(self.asked.set)
        signal.sigtimedwait(STOP_SIGNALS, self.grace_s + _END_S)
        self._loop.call_soon_threadsafe(self.forced.set)
        time.sleep(_END_S)
        # Nobody else may be there to end a process whose event loop does not turn any more.
        os._exit(1)


def _end_envoy() -> None:
    """Let Envoy's own handler of SIGTERM run, in this thread."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)


def _listens(port: int) -> bool:
    """Whether this process has a socket that listens at a port."""
    for name in os.listdir("/proc/self/fd"):
        try:
            copy = os.dup(int(name))
        except OSError:  # closed meanwhile
            continue
        try:
            with socket.socket(fileno=copy) as one:
                listening = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if listening and one.family != socket.AF_UNIX and one.getsockname()[1] == port:
                    return True
        except OSError:  # no socket
            os.close(copy)
    return False
