"""Whether a Triton bears that a call is cancelled: some crash, with all that is in flight there.

Until 2.59 (container 25.06) a cancellation, or a deadline that passes, can meet the end of the
same inference in such a way that Triton reads what is freed already (triton-inference-server/server
#7368, #8034; mended by #7840, #8078, #8220). The one that is embedded, 2.51, is of those.
"""

from __future__ import annotations

import re
from typing import Literal

Cancelling = Literal["auto", "always", "never"]

_SOUND = 2, 59
_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.|\D|$)")


def bears_cancelling(version: str) -> bool:
    """Return whether a Triton of this version, such as ``2.51.0``, can be cancelled at will.

    One whose version says nothing is taken for one that cannot.
    """
    found = _NUMBERS.match(version)
    return found is not None and (int(found[1]), int(found[2])) >= _SOUND
