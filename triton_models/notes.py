"""Text as the tokens of a release: the same where it is trained and where it is served."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer

from triton_models.note_tokenizers import TokenizerUnusable

MAX_TOKENIZER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Word:
    """A word of a note, or what stands between two."""

    text: str
    """As it stands in the note."""
    places: tuple[int, ...]
    """Of its tokens."""


@dataclass(frozen=True)
class Tokens:
    """What a release reads of a note."""

    ids: list[int]
    """At least one."""
    words: tuple[Word, ...]
    """In the order of the note, without the tokens that stand for no text."""
    cut: bool
    """Whether the note was longer than is read."""


class NoteTokenizer:
    """Turns notes into tokens; may be used on several threads.

    Args:
        content: Of a ``tokenizer.json``.
        max_tokens: What is more is cut off.

    Raises:
        TokenizerUnusable: If it is no such file.
    """

    def __init__(self, content: bytes, max_tokens: int) -> None:
        if len(content) > MAX_TOKENIZER_BYTES:
            raise TokenizerUnusable(f"the tokenizer has {len(content)} bytes, too many")
        try:
            self._tokenizer = Tokenizer.from_buffer(content)
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(max_tokens)
            nothing = self._tokenizer.encode(".").ids
        except Exception as error:  # the library raises nothing narrower
            raise TokenizerUnusable(f"no tokenizer: {error}") from error
        if not nothing:
            raise TokenizerUnusable("the tokenizer makes nothing of a text")
        self._blank = nothing[:1]

    @property
    def size(self) -> int:
        """One more than the greatest token."""
        return max(self._tokenizer.get_vocab().values()) + 1

    def ids(self, note: str) -> list[int]:
        """Return the tokens of a note, at least one."""
        return list(self._tokenizer.encode(note).ids) or self._blank

    def cuts(self, note: str) -> bool:
        """Say whether a note is longer than is read."""
        return bool(self._tokenizer.encode(note).overflowing)

    def tokens(self, note: str) -> Tokens:
        """Return the tokens of a note and the words that they are parts of."""
        found = self._tokenizer.encode(note)
        spans: dict[int, tuple[int, int, list[int]]] = {}
        for place, (word, (start, end)) in enumerate(
            zip(found.word_ids, found.offsets, strict=True)
        ):
            if word is None:
                continue
            first, last, places = spans.get(word, (start, end, []))
            spans[word] = min(first, start), max(last, end), [*places, place]
        words = tuple(
            Word(text, tuple(places))
            for start, end, places in spans.values()
            if (text := note[start:end].strip())
        )
        return Tokens(list(found.ids) or self._blank, words, bool(found.overflowing))
