"""A tokenizer of our own, learnt from the training notes."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import BpeTrainer

PADDING, UNKNOWN = "[PAD]", "[UNK]"


def learn_tokenizer(notes: Iterable[str], vocabulary: int) -> bytes:
    """Return a ``tokenizer.json`` of pieces of words, in small letters and without accents.

    Pairs of letters grow together (BPE): unlike the library's WordPiece, which numbers letters in
    another order each time, this learns the same from the same notes.

    Args:
        notes: Of the training split alone: what only others say must stay unknown.
        vocabulary: Pieces, at most.
    """
    tokenizer = Tokenizer(BPE(unk_token=UNKNOWN, fuse_unk=True))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[PADDING, UNKNOWN],
        show_progress=False,
    )
    tokenizer.train_from_iterator(notes, trainer)
    return tokenizer.to_str().encode()
