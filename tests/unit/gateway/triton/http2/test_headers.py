"""Header blocks: what we write, another library reads; what is remembered is what is meant."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from gateway.triton.http2 import headers
from gateway.triton.http2.errors import BrokenProtocol

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=400)
NAME = st.from_regex(r"[a-z][0-9a-z_-]{0,200}", fullmatch=True).filter(
    lambda name: not name.startswith("grpc-")
)


@given(TEXT, st.dictionaries(NAME, TEXT, max_size=5))
def test_another_library_reads_what_we_write(path: str, metadata: dict[str, str]) -> None:
    block = headers.request_head("http", "host:1", path) + headers.metadata_fields(metadata)
    decoder = Decoder(2**20)
    fields = list(decoder.decode(headers.NO_TABLE + block))
    assert fields[:4] == [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "host:1"),
        (":path", path),
    ]
    assert dict(fields[7:]) == metadata
    assert len(decoder.header_table.dynamic_entries) == 0


@pytest.mark.parametrize(
    ("timeout_s", "field"),
    [
        (1e-9, "1u"),
        (0.0000011, "2u"),
        (1.5, "1500000u"),
        (98.9999999, "99000000u"),
        (99, "99000m"),
        (99.00001, "99001m"),
        (99_998.5, "99998500m"),
        (99_999, "99999S"),
        (99_999.1, "100000S"),
        (99_999_998.5, "99999999S"),
    ],
)
def test_a_timeout_has_at_most_eight_digits_and_is_never_shorter(
    timeout_s: float, field: str
) -> None:
    (pair,) = Decoder().decode(headers.timeout_field(timeout_s))
    assert tuple(pair) == ("grpc-timeout", field)


@given(st.lists(st.tuples(NAME, TEXT), max_size=4), st.integers(0, 16), TEXT, st.booleans())
def test_a_block_says_what_an_encoder_without_a_table_wrote(
    others: list[tuple[str, str]], status: int, message: str, huffman: bool
) -> None:
    encoder = Encoder()
    encoder.header_table_size = 0
    fields = [(":status", "200"), *others, ("grpc-status", str(status)), ("grpc-message", message)]
    for _ in range(2):  # the second time without a change of the table's size
        block = encoder.encode(fields, huffman=huffman)
        head = headers.response_head(block)
        assert (head.http_status, head.grpc_status, head.fault) == ("200", str(status), "")
        assert head == headers.response_head(block)
        assert head == headers._decoded(block)


@given(st.lists(st.lists(st.tuples(NAME, TEXT), min_size=1, max_size=3), max_size=5), st.data())
def test_blocks_mean_the_same_in_any_order(
    several: list[list[tuple[str, str]]], data: st.DataObject
) -> None:
    encoder = Encoder()
    encoder.header_table_size = 0
    blocks = [
        encoder.encode([*fields, ("grpc-message", str(n))]) for n, fields in enumerate(several)
    ]
    alone = []
    for block in blocks:
        headers._remembered.cache_clear()
        alone.append(headers.response_head(block))
    for n in data.draw(st.permutations(range(len(blocks)))):
        assert headers.response_head(blocks[n]) == alone[n]


def test_a_block_that_needs_a_table_is_refused_even_if_the_block_before_would_have_filled_it() -> (
    None
):
    encoder = Encoder()  # with a table of 4096 bytes
    first, second = (encoder.encode([("grpc-status", "0")]) for _ in range(2))
    assert headers.response_head(first).grpc_status == "0"
    with pytest.raises(BrokenProtocol, match="broken headers"):
        headers.response_head(second)


@given(st.binary(max_size=300))
def test_any_bytes_are_headers_or_are_refused(block: bytes) -> None:
    results = []
    for _ in range(2):
        try:
            results.append(headers.response_head(block))
        except (BrokenProtocol, headers.TooManyHeaders) as error:
            results.append(str(error))
    assert results[0] == results[1]


def test_what_is_remembered_is_bounded() -> None:
    for n in range(1000):
        headers.response_head(b"\0\1a" + bytes((3,)) + b"%03d" % n)
    assert headers._remembered.cache_info().currsize <= 256
    before = headers._remembered.cache_info()
    headers.response_head(b"\0\1a\x7f\xff\x03" + b"x" * 638)
    assert headers._remembered.cache_info() == before
