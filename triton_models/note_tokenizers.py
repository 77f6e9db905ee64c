"""The tokenizers of the note releases that this process knows.

A release is known from before it is loaded until after it is unloaded. Whoever checks the files of
a release has its tokenizer read; whoever answers for it finds it here, by the manifest alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from triton_models.release import Manifest
from triton_models.store_errors import FilesAltered

if TYPE_CHECKING:
    from triton_models.notes import NoteTokenizer
    from triton_models.store import ReleaseStore

TOKENIZER_FILE = "tokenizer.json"
"""The name of the file in a release: data that a library reads, and no code."""

Key = tuple[str, int]


class TokenizerUnusable(Exception):
    """A file is no tokenizer."""


class NoteTokenizers:
    """By release; two releases with the same file share what was made of it."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._known: dict[Key, NoteTokenizer] = {}

    def __len__(self) -> int:
        """Return how many different ones are known."""
        return len(self._known)

    def read(self, store: ReleaseStore, manifest: Manifest) -> None:
        """Know the tokenizer of a release from now on.

        Raises:
            FilesAltered: If it is not what was released.
            TokenizerUnusable: If it is no tokenizer.
            OSError: If it cannot be read.
        """
        if manifest.note is None:
            return
        path = manifest.extra_file(TOKENIZER_FILE)
        digest = manifest.files.get(path)
        if digest is None:
            raise FilesAltered(manifest.line, manifest.release, [path], [], [])
        key = (digest, manifest.note.max_tokens)
        if key not in self._known:
            self.add(manifest, store.model_file(manifest, path), key)
        self._keys[manifest.ensemble] = key

    def add(self, manifest: Manifest, content: bytes, key: Key | None = None) -> None:
        """Know a tokenizer that was read.

        Raises:
            TokenizerUnusable: If it is none.
        """
        # The library takes its time to be imported, and few gateways serve notes.
        from triton_models.notes import NoteTokenizer

        assert manifest.note is not None, "only of a release for notes"
        key = key or (manifest.ensemble, manifest.note.max_tokens)
        self._known[key] = NoteTokenizer(content, manifest.note.max_tokens)
        self._keys[manifest.ensemble] = key

    def of(self, manifest: Manifest) -> NoteTokenizer:
        """Return the tokenizer of a release that is loaded.

        Raises:
            KeyError: If it was never read.
        """
        return self._known[self._keys[manifest.ensemble]]

    def forget(self, manifest: Manifest) -> None:
        """Know a release no longer."""
        key = self._keys.pop(manifest.ensemble, None)
        if key is not None and key not in self._keys.values():
            self._known.pop(key, None)


TOKENIZERS = NoteTokenizers()
"""Of this process."""
