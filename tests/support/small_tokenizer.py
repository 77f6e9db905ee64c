"""A tokenizer of a few words and pieces, as a release carries one."""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
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
