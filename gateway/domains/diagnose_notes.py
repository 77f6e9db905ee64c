"""Notes as evidence: text as the tokens that a release reads, and which words speak for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.domains.domain import SlowRow
from gateway.errors import InvalidRequest, ModelContractBroken
from trident.common.v1 import input_note_pb2
from trident.common.v1.input_note_pb2 import InputNote
from trident.diagnose.v1.diagnose_service_pb2 import TokenWeight, TokenWeights
from triton_models.note_limits import MAX_NOTE_LENGTH, most_notes
from triton_models.note_tokenizers import TOKENIZERS
from triton_models.release import Manifest

QUICK_CHARACTERS = 1_000
"""Read in less than a millisecond; the longest note takes ten, or fifty where each character is a
token."""

_TOKENS_OF_NO_TEXT = 8
"""More than any tokenizer puts around a note, such as ``[CLS]`` and ``[SEP]``."""

Ids = npt.NDArray[np.int32]
"""``(T,)``, the tokens of one note."""


@dataclass(frozen=True)
class NoteRow(SlowRow):
    """A note that is still to be read."""

    note: str
    manifest: Manifest

    @property
    def quick(self) -> bool:
        """Whether it is short."""
        return len(self.note) <= QUICK_CHARACTERS

    def made(self) -> Ids:
        """Return ``(T,)`` int32."""
        return np.array(TOKENIZERS.of(self.manifest).ids(self.note), np.int32)


def plain_note(note: str, manifest: Manifest) -> NoteRow | None:
    """Return what is left to do with a note that nothing is wrong with."""
    if 1 <= len(note) <= MAX_NOTE_LENGTH and "\0" not in note:
        return NoteRow(note, manifest)
    return None


def note_width(ids: Ids) -> int:
    """Return the power of two that holds a note: shorter ones are padded to it."""
    return (len(ids) - 1).bit_length()


def notes_to_tensors(rows: Sequence[Ids]) -> dict[str, npt.NDArray[np.int32]]:
    """Return the inputs of a release, ``(B, T)`` int32 each, T the longest.

    Raises:
        InvalidRequest: If one batch has too many notes of this length.
    """
    longest = max(map(len, rows))
    if len(rows) > (most := most_notes(longest)):
        text = f"must have at most {most} notes as long as {longest} tokens, got {len(rows)}"
        raise InvalidRequest({"requests": text})
    ids = np.zeros((len(rows), longest), np.int32)
    mask = np.zeros((len(rows), longest), np.int32)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return {"token_ids": ids, "attention_mask": mask}


def note_notes(note: str, manifest: Manifest) -> list[InputNote]:
    """Return what a client must know of how its note was read."""
    assert manifest.note is not None, "checked when the release was loaded"
    # Of ASCII a token has a character at least: a short note need not be read again to know. Of
    # other text a character can have several, as bytes or when it is written out.
    few = len(note) + _TOKENS_OF_NO_TEXT <= manifest.note.max_tokens
    if (few and note.isascii()) or not TOKENIZERS.of(manifest).cuts(note):
        return []
    return [InputNote(feature="note", rule=input_note_pb2.INPUT_RULE_TRUNCATED)]


def token_weights_of(
    note: str, weights: npt.NDArray[np.float32], manifest: Manifest
) -> TokenWeights:
    """Return the weight of each word: those of its tokens add up.

    Args:
        note: As it was sent.
        weights: ``(T,)``, of its tokens; what lies behind them is padding.
        manifest: Of the release that answered.

    Raises:
        ModelContractBroken: If there are fewer weights than tokens.
    """
    tokens = TOKENIZERS.of(manifest).tokens(note)
    if len(tokens.ids) > len(weights):
        raise ModelContractBroken(manifest.line, manifest.release)
    return TokenWeights(
        tokens=[
            TokenWeight(token=word.text, weight=float(weights[list(word.places)].sum()))
            for word in tokens.words
        ]
    )


def is_note(row: Any) -> bool:
    """Say whether a row that was made is that of a note."""
    return isinstance(row, np.ndarray) and row.ndim == 1
