"""A tokenizer of a few words and pieces, as a release carries one."""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.models import BPE, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel
from tokenizers.processors import TemplateProcessing

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "fever", "cough", "head", "##ache", "my", ",", ".")


def tokenizer_json(special: bool = True) -> bytes:
    """The content of ``tokenizer.json``.

    Args:
        special: Whether a token stands before and one behind each note.
    """
    numbers = {piece: number for number, piece in enumerate(PIECES)}
    tokenizer = Tokenizer(WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    if special:
        tokenizer.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]",
            special_tokens=[(name, numbers[name]) for name in ("[CLS]", "[SEP]")],
        )
    return bytes(tokenizer.to_str(), "utf-8")


def byte_tokenizer_json() -> bytes:
    """The content of a ``tokenizer.json`` of which each byte is a token."""
    pieces = {piece: number for number, piece in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(pieces | {"[PAD]": len(pieces)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return bytes(tokenizer.to_str(), "utf-8")
