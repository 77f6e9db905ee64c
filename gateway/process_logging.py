"""Where a process of the gateway logs."""

from __future__ import annotations

import logging
import sys


def log_to_stderr(name: str = "") -> None:
    """Log warnings and worse to standard error; each line says which process it was, if named."""
    process = f" {name}" if name else ""
    logging.basicConfig(
        format=f"%(asctime)s %(levelname)s{process} %(name)s: %(message)s",
        level=logging.WARNING,
        stream=sys.stderr,
    )
    # That a shadow is asked, and what it disagrees on, is what an operator waits to hear.
    for told in ("gateway.inference.shadowing", "gateway.triton.lifecycle"):
        logging.getLogger(told).setLevel(logging.INFO)
