from __future__ import annotations

import threading

import pytest
from small_tokenizer import PIECES, tokenizer_json

from triton_models import notes
from triton_models.note_tokenizers import TokenizerUnusable
from triton_models.notes import NoteTokenizer


@pytest.fixture
def tokenizer() -> NoteTokenizer:
    return NoteTokenizer(tokenizer_json(), 8)


def names(ids: list[int]) -> list[str]:
    return [PIECES[one] for one in ids]


def test_a_note_becomes_its_tokens_between_those_that_stand_for_no_text(
    tokenizer: NoteTokenizer,
) -> None:
    found = names(tokenizer.ids("Fever, my HEADACHE."))
    assert found == ["[CLS]", "fever", ",", "my", "head", "##ache", ".", "[SEP]"]
    assert tokenizer.size == len(PIECES)


def test_words_are_as_they_stand_in_the_note_and_know_their_tokens(
    tokenizer: NoteTokenizer,
) -> None:
    found = tokenizer.tokens("Fever,  my Headache")
    assert [(word.text, word.places) for word in found.words] == [
        ("Fever", (1,)),
        (",", (2,)),
        ("my", (3,)),
        ("Headache", (4, 5)),
    ]
    assert not found.cut


def test_what_is_too_long_is_cut_and_told(tokenizer: NoteTokenizer) -> None:
    note = "fever cough my head , . fever"
    assert names(tokenizer.ids(note)) == [
        "[CLS]", "fever", "cough", "my", "head", ",", ".", "[SEP]",
    ]  # fmt: skip
    assert tokenizer.cuts(note)
    assert tokenizer.tokens(note).cut
    assert not tokenizer.cuts("fever cough my head , .")


def test_accents_and_other_scripts_keep_their_places_in_the_note(
    tokenizer: NoteTokenizer,
) -> None:
    found = tokenizer.tokens("Févér 熱 cough 🤒")
    assert [word.text for word in found.words] == ["Févér", "熱", "cough", "🤒"]


@pytest.mark.parametrize("special", [True, False])
def test_a_note_of_nothing_is_a_token_at_least(special: bool) -> None:
    assert len(NoteTokenizer(tokenizer_json(special), 8).ids(" \n\t ")) >= 1


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\xff\xfe", tokenizer_json()[:-40], b'{"version": "1.0", "model": null}'],
    ids=["empty", "object", "bytes", "torn", "no model"],
)
def test_what_is_no_tokenizer_is_refused(content: bytes) -> None:
    with pytest.raises(TokenizerUnusable, match="no tokenizer"):
        NoteTokenizer(content, 8)


def test_a_tokenizer_that_is_too_large_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "MAX_TOKENIZER_BYTES", 10)
    with pytest.raises(TokenizerUnusable, match="too many"):
        NoteTokenizer(tokenizer_json(), 8)


def test_threads_may_share_one(tokenizer: NoteTokenizer) -> None:
    texts = [f"fever {'cough ' * (number % 5)}" for number in range(200)]
    expected = [tokenizer.ids(text) for text in texts]
    found: dict[int, list[list[int]]] = {}
    threads = [
        threading.Thread(target=lambda k=k: found.update({k: [tokenizer.ids(t) for t in texts]}))
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 4
