"""A worker process whose transport is Envoy: ``python -m gateway.envoy_worker``.

The process becomes an Envoy, and what it serves is opened by the Python in it: see
:mod:`.envoy_served`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from gateway.connecting import protection_of
from gateway.security.errors import UnusableFile
from gateway.transport.envoy_process import EnvoyMissing, become_envoy
from gateway.worker import Worker


def main() -> int:
    """Become an Envoy; return the exit code if that is impossible."""
    worker = Worker.from_environment(os.environ)
    folder = tempfile.mkdtemp(prefix=f"envoy-{worker.number}-", dir=worker.folder)
    try:
        protection = protection_of(worker.settings)
        if protection.tls is not None:  # Envoy would start and listen to nobody
            protection.tls.check()
        become_envoy(
            app="gateway.envoy_served:app",
            listen=worker.settings.listen,
            folder=Path(folder),
            protection=protection,
            environment=os.environ,
        )
    except (EnvoyMissing, OSError, UnusableFile) as error:
        worker.say_failed(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
