"""Whether a release in a store is what was released, and by whom."""

from __future__ import annotations

from dataclasses import dataclass

from triton_models.release import Manifest
from triton_models.signing import SignatureInvalid, Verifier
from triton_models.store import ReleaseStore
from triton_models.store_errors import Untrusted


@dataclass(frozen=True)
class Trust:
    """What is asked of a release before anybody loads it.

    A signature signs the manifest, and the manifest has the hash of every file.
    """

    verifier: Verifier | None = None
    """Checks signatures, where there are any."""
    required: bool = False
    """Whether a release without a signature is refused."""

    def manifest(self, store: ReleaseStore, line: str, release: str) -> Manifest:
        """Return a release's manifest, from the very bytes that were checked.

        Raises:
            ReleaseNotFound: If there is no such release.
            Unreadable: If its manifest is damaged or of another release.
            Untrusted: If its signature is wrong, or missing where it must be there.
        """
        if self.verifier is None:
            return store.manifest(line, release)
        content = store.manifest_bytes(line, release)
        signature = store.signature(line, release)
        path = store.manifest_path(line, release)
        if signature is not None:
            try:
                self.verifier.check(content, signature)
            except SignatureInvalid as error:
                text = f"it is not as it was signed, or signed with another key ({error})"
                raise Untrusted(path, text) from error
        elif self.required:
            raise Untrusted(path, "it is not signed, and only signed releases are loaded")
        return store.understood(line, release, content)
