"""What a person does next with a release that was published, as commands to copy."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triton_models.release import Manifest

DEFAULT_STORE = "triton_models/store"

_CALLS = {
    "recommend": "recommend",
    "diagnose-image": "diagnose",
    "diagnose-measurements": "diagnose",
    "score-risk": "score-risk",
}


def next_steps(manifest: Manifest, store_url: str, *, routed: bool) -> list[str]:
    """Return the lines that say it.

    Args:
        manifest: Of the release.
        store_url: Where it lies.
        routed: Whether it answers its line's calls from now on.
    """
    name = f"{manifest.line}/{manifest.release}"
    store = "" if store_url == DEFAULT_STORE else f" --store {quote(store_url)}"
    if manifest.verdict == "refused":
        return ["The gate refused it. It is kept, marked, and cannot be promoted."]
    if routed:
        return [
            f"It is the first release of '{manifest.line}' and answers its calls. Next:",
            f"  gateway serve --embedded{store}",
            f"  gateway call {_CALLS.get(manifest.line, 'models')} --help",
        ]
    return [
        f"Another release answers the calls of '{manifest.line}'. To have this one do so:",
        f"  model-builder promote {name} --weight 5%{store}   # a share of them",
        f"  model-builder promote {name}{store}",
    ]
