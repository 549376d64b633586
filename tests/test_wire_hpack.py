"""HPACK: the examples of RFC 7541, each rule as a table, what is bounded, and laws; python-hyper's hpack gives a second opinion."""

from __future__ import annotations

from time import process_time

import hpack
import pytest
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given, settings
from hypothesis import strategies as st

from terraster.wire.http2.hpack import code as code_of
from terraster.wire.http2.hpack import huffman, reader, writer
from terraster.wire.http2.hpack.errors import HpackError, Oversized
from terraster.wire.http2.hpack.reader import Decoder
from terraster.wire.http2.hpack.static_table import ENTRIES

Pairs = list[tuple[bytes, bytes]]


def read(decoder: Decoder, block: bytes) -> Pairs:
    return [(name, value) for name, value, _ in decoder.decode(block)]


def pairs(text: str) -> Pairs:
    """Fields as (name, value): a line each, the name with its colon."""
    return [(name.encode(), value.encode()) for name, value in (line.rsplit(": ", 1) for line in text.split("\n"))]


REQUESTS = (
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com",
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache",
    ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value",
)
RESPONSES = (
    ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com",
    ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com",
    ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: https://www.example.com\n"
    "content-encoding: gzip\nset-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
)

EXAMPLES = {
    "C.2.1": (4096, ("400a637573746f6d2d6b65790d637573746f6d2d686561646572",), ("custom-key: custom-header",), (55,)),
    "C.2.2": (4096, ("040c2f73616d706c652f70617468",), (":path: /sample/path",), (0,)),
    "C.2.3": (4096, ("100870617373776f726406736563726574",), ("password: secret",), (0,)),
    "C.2.4": (4096, ("82",), (":method: GET",), (0,)),
    "C.3": (
        4096,
        (
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ),
        REQUESTS,
        (57, 110, 164),
    ),
    "C.4": (
        4096,
        (
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ),
        REQUESTS,
        (57, 110, 164),
    ),
    "C.5": (
        256,
        (
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
            "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a6970"
            "7738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
        ),
        RESPONSES,
        (222, 222, 215),
    ),
    "C.6": (
        256,
        (
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab"
            "77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ),
        RESPONSES,
        (222, 222, 215),
    ),
}


@pytest.mark.parametrize(("room", "blocks", "lists", "sizes"), EXAMPLES.values(), ids=EXAMPLES)
def test_examples_of_the_rfc(room: int, blocks: tuple[str, ...], lists: tuple[str, ...], sizes: tuple[int, ...]) -> None:
    """RFC 7541, appendix C: the fields of each block, and the size of the dynamic table behind it."""
    decoder = Decoder(65536, room)
    for block, fields, size in zip(blocks, lists, sizes, strict=True):
        assert read(decoder, bytes.fromhex(block)) == pairs(fields)
        assert decoder._size == size


@pytest.mark.parametrize(
    ("value", "bits", "octets"),
    [
        (10, 5, "0a"),  # RFC 7541, C.1.1
        (1337, 5, "1f9a0a"),  # C.1.2
        (42, 8, "2a"),  # C.1.3
        (30, 5, "1e"),
        (31, 5, "1f00"),
        (127 + 127, 7, "7f7f"),
        (127 + 128, 7, "7f8001"),
    ],
)
def test_integers(value: int, bits: int, octets: str) -> None:
    made = writer._integer(value, bits, 0)
    assert made.hex() == octets
    most = (1 << bits) - 1
    if value >= most:
        assert reader._integer(made, 1, most) == (value, len(made))


def test_the_tables_are_those_of_the_rfc() -> None:
    """As hpack has them."""
    for symbol, (code, length) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)):
        assert code_of.CODES[symbol] == f"{code:0{length}b}"
    table = hpack.table.HeaderTable()
    for index in range(1, 62):
        name, value = table.get_by_index(index)
        assert ENTRIES[index] == (name, value, len(name) + len(value) + 32)
    assert len(ENTRIES) == 62


TABLE = "400161016240016301" + "64"
"""A block that puts two fields into the table."""

REFUSED = {
    "index 0": "80",
    "index behind the static table": "be",
    "index behind the dynamic table": TABLE + "c0",
    "large index behind the dynamic table": TABLE + "ff8001",
    "name of an index that does not exist": "7e0161",
    "name of an index that does not exist, not indexed": "0f2f0161",
    "name of an index that does not exist, never indexed": "1f2f0161",
    "an integer of five more octets": "ffffffffff00",
    "an integer with leading zeros of five octets": "007f8080808000" + "61" * 127 + "00",
    "a string of 2**28 octets": "00ff80808001",
    "an integer cut off": "ff80",
    "a name cut off": "400261",
    "a value cut off": "4001610262",
    "a value that is missing": "400161",
    "a length that is missing": "40",
    "a length cut off": "00017f",
    "table size above the limit": "3fe21f",
    "table size behind a field": "8220",
    "table size behind a field that is not indexed": "000000" + "20",
    "Huffman: padding of 8 bits": "000082" + "1fff",
    "Huffman: padding of zeros": "000081" + "18",
    "Huffman: padding partly of zeros": "000081" + "1e",
    "Huffman: the end of a string": "000084" + "ffffffff",
    "Huffman: the end of a string behind a symbol": "000085" + "1fffffffff",
    "Huffman: a code cut off": "000082" + "1ffe",
    "Huffman: only padding of 8 bits": "000081" + "ff",
    "Huffman: a name": "0081ff00",
}


@pytest.mark.parametrize("block", REFUSED.values(), ids=REFUSED)
def test_refused(block: str) -> None:
    octets = bytes.fromhex(block)
    with pytest.raises(HpackError):
        Decoder(65536).decode(octets)
    try:
        hpack.Decoder().decode(octets, raw=True)
    except hpack.HPACKError:
        pass
    else:
        assert block == REFUSED["an integer with leading zeros of five octets"], "only hpack accepts it"


ACCEPTED = {
    "nothing": ("", []),
    "table sizes in front": ("203fe11f82", [(b":method", b"GET")]),
    "only a table size": ("20", []),
    "an empty string in Huffman code": ("008080", [(b"", b"")]),
    "an integer with leading zeros": ("007f80808000" + "61" * 127 + "00", [(b"a" * 127, b"")]),
    "padding of 7 bits": ("000082" + "fb7f", None),
    "an index of two octets": ("".join(f"4001{65 + n:02x}00" for n in range(66)) + "ff00", None),
    "an entry larger than the table": ("20" + "4001610162" + "82", [(b"a", b"b"), (b":method", b"GET")]),
}


@pytest.mark.parametrize(("block", "fields"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(block: str, fields: Pairs | None) -> None:
    octets = bytes.fromhex(block)
    found = read(Decoder(65536), octets)
    assert fields is None or found == fields
    assert found == [(name, value) for name, value in hpack.Decoder().decode(octets, raw=True)]


def test_every_cut() -> None:
    """What is left of a block has the first of its fields, or is an error; nothing else is raised."""
    blocks = [bytes.fromhex(block) for _, blocks, _, _ in EXAMPLES.values() for block in blocks[:1]]
    blocks.append(bytes.fromhex("3fe11f" + "40821c64" + "03616263" + "00017a7f0a" + "7a" * 137 + "be"))
    for block in blocks:
        whole, refused = read(Decoder(65536), block), 0
        for cut in range(len(block)):
            try:
                part = read(Decoder(65536), block[:cut])
            except HpackError:
                refused += 1
            else:
                assert part == whole[: len(part)]
        assert refused or len(block) == 1


def test_names_of_evicted_entries_stay_valid() -> None:
    """RFC 7541, section 4.4: a new entry may take its name from the entry that it evicts."""
    decoder = Decoder(65536, 64)
    assert read(decoder, bytes.fromhex("4004616263640130")) == [(b"abcd", b"0")]
    assert read(decoder, bytes.fromhex("7e0131be")) == [(b"abcd", b"1"), (b"abcd", b"1")]
    with pytest.raises(HpackError):
        decoder.decode(b"\xbf")


def test_a_smaller_table_forgets_the_oldest() -> None:
    decoder = Decoder(65536)
    decoder.decode(bytes.fromhex(TABLE))
    assert read(decoder, b"\x3f\x03\xbe") == [(b"c", b"d")]  # room for one
    with pytest.raises(HpackError):
        decoder.decode(b"\xbf")
    assert read(Decoder(65536, 0), bytes.fromhex("4001610162")) == [(b"a", b"b")]


def test_the_block_before_is_only_taken_for_the_same_table() -> None:
    decoder = Decoder(65536)
    decoder.decode(bytes.fromhex(TABLE))
    assert read(decoder, b"\xbe") == [(b"c", b"d")]
    assert decoder.decode(b"\xbe") is decoder.decode(b"\xbe")
    decoder.decode(bytes.fromhex("4001650166"))
    assert read(decoder, b"\xbe") == [(b"e", b"f")]
    for _ in range(2):  # not the same as once
        decoder.decode(bytes.fromhex("4001670168"))
    assert read(decoder, b"\xbe\xbf\xc0") == [(b"g", b"h"), (b"g", b"h"), (b"e", b"f")]
    again = Decoder(40)
    for block, field in (("4001610162", (b"a", b"b")), ("4001630164", (b"c", b"d"))):
        assert read(again, bytes.fromhex(block)) == [field]
        assert read(again, b"\xbe") == [field]
        with pytest.raises(Oversized):
            again.decode(b"\xbe\xbe")
    with pytest.raises(Oversized):
        again.decode(bytes.fromhex("be4001670168"))
    assert read(again, b"\xbe") == [(b"g", b"h")]
    assert read(again, b"") == []


def test_a_list_that_is_too_large_leaves_the_table_right() -> None:
    """The list is counted as SETTINGS_MAX_HEADER_LIST_SIZE says; the fields before the limit are told; the connection can go on."""
    fields = [(b"x-a", b"1" * 20), (b"x-b", b"2" * 20), (b"x-c", b"3" * 20)]
    encoder = hpack.Encoder()
    block = encoder.encode(fields)
    assert read(Decoder(165), block) == fields
    decoder = Decoder(164)
    with pytest.raises(Oversized) as large:
        decoder.decode(block)
    assert large.value.fields == [(name, value, 55) for name, value in fields[:2]]
    assert read(decoder, encoder.encode(fields[2:])) == fields[2:]


def test_bombs() -> None:
    """One octet for 4 kB: the fields are shared, those behind the limit are not kept, and a block takes no longer than its octets."""
    decoder = Decoder(65536)
    large = hpack.Encoder().encode([(b"x-large", b"v" * 4000)])
    decoder.decode(large)
    start = process_time()
    for _ in range(10):
        with pytest.raises(Oversized) as found:
            decoder.decode(b"\xbe" * 65536)
        assert len(found.value.fields) == 16
    assert process_time() - start < 2
    start = process_time()
    for _ in range(4):  # each entry evicts all others, or is evicted itself
        decoder.decode(b"\x3f\xe1\x1f" + b"\x40\0\0" * 1900)
        decoder.decode(b"\x20\x3f\xe1\x1f" * 4000)
        assert decoder._size <= 4096 and len(decoder._dynamic) <= 128
    assert process_time() - start < 2


def test_strings_that_are_remembered_are_bounded() -> None:
    """A string is kept when it is met again, and none that is large."""
    start = len(reader._TEXTS)
    decoder = Decoder(1 << 20)
    for number in range(5000):
        value = huffman.encode(b"%d" % number * 30)
        block = b"\0\x81\x1f" + writer._integer(len(value), 7, 128) + value
        for _ in range(1 + number % 2):
            assert decoder.decode(block)[0][1] == b"%d" % number * 30
            decoder._last = None
        assert len(reader._TEXTS) <= 2048
        assert sum(map(len, reader._TEXTS)) == reader._TEXTS.held <= 1 << 17
    large = huffman.encode(b"a" * 9000)
    for _ in range(3):
        decoder.decode(b"\0\0" + writer._integer(len(large), 7, 128) + large)
    assert large not in reader._TEXTS
    assert start <= 2048


def test_connections_share_what_their_tables_have_in_common() -> None:
    block = b"\x40\x08x-shared\x05value"
    found = [Decoder(65536).decode(block)[0] for _ in range(4)]
    assert found[1] is found[2] is found[3] == (b"x-shared", b"value", 45)
    decoder = Decoder(65536)
    for number in range(9000):
        decoder.decode(b"\x40\0\x78" + b"%05d" % (number // 2) * 24)
        assert len(reader._ENTRIES) <= 4096 and reader._ENTRIES.held <= 1 << 18


def test_fields_that_are_written_are_bounded_and_unique_ones_are_not_kept() -> None:
    """A long or a unique value costs the others nothing."""
    usual = (b"x-usual", b"value")
    for _ in range(3):
        writer.field(*usual)
    assert usual in writer.WRITTEN
    for number in range(10000):
        writer.field(b"x-unique", b"%d" % number)
    assert usual in writer.WRITTEN and (b"x-unique", b"9999") not in writer.WRITTEN
    for _ in range(3):
        writer.field(b"x-long", b"v" * 5000)
    assert (b"x-long", b"v" * 5000) not in writer.WRITTEN
    for number in range(10000):
        writer.encode([(b"x-twice", b"%d" % number * 20)] * 2)
        assert len(writer.WRITTEN) <= 4096 and writer.WRITTEN.held <= 1 << 18


@pytest.mark.parametrize(
    ("name", "value", "first", "second"),
    [
        (b":status", b"200", "88", "88"),
        (b":method", b"GET", "82", "82"),
        (b":status", b"418", "0803343138", "0803343138"),
        (b"server", b"nginx", "0f27056e67696e78", None),
        (b"x-test", b"", "0006782d7465737400", None),
        (b"set-cookie", b"a=b", "1f2803613d62", "1f2803613d62"),
        (b"authorization", b"x", "1f080178", "1f080178"),
        (b"proxy-authorization", b"x", "1f220178", "1f220178"),
        (b"cookie", b"a=" + b"b" * 17, "1f1113613d" + "62" * 17, "1f1113613d" + "62" * 17),
        (b"cookie", b"a=" + b"b" * 18, "0f1114613d" + "62" * 18, None),
    ],
)
def test_how_a_field_is_written(name: bytes, value: bytes, first: str, second: str | None) -> None:
    """By its index, or as a literal that no table takes; what is sensitive as one that no table ever takes (RFC 7541, section 7.1.3).
    Values that come again are written in Huffman code, if that is shorter."""
    writer.WRITTEN.clear()
    writer.WRITTEN.met.clear()
    assert writer.field(name, value).hex() == first
    again = writer.field(name, value)
    if second is not None:
        assert again.hex() == second
    else:
        assert len(again) < len(bytes.fromhex(first)) or not value
    assert writer.field(name, value) == again
    assert [(one, two) for one, two in hpack.Decoder().decode(again, raw=True)] == [(name, value)]
    never = isinstance(next(iter(hpack.Decoder().decode(again, raw=True))), hpack.NeverIndexedHeaderTuple)
    assert never is first.startswith("1f")


STRINGS = st.binary(max_size=300) | st.text("abc-:/ 019=;", max_size=300).map(str.encode)


@given(STRINGS)
def test_huffman_strings(string: bytes) -> None:
    octets = huffman.encode(string)
    assert huffman.decode(octets) == string
    encoder = hpack.huffman.HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    assert octets == encoder.encode(string)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.tuples(STRINGS, STRINGS), max_size=8), max_size=6), st.booleans(), st.sampled_from((0, 100, 4096)))
def test_what_hpack_writes_is_read(lists: list[Pairs], compress: bool, room: int) -> None:
    encoder, decoder = hpack.Encoder(), Decoder(1 << 30)
    encoder.header_table_size = room
    for fields in lists:
        assert read(decoder, encoder.encode(fields, huffman=compress)) == fields


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.tuples(STRINGS, STRINGS), max_size=8), max_size=6))
def test_what_is_written_hpack_reads(lists: list[Pairs]) -> None:
    """With any size of a table; and blocks can be concatenated."""
    for room in (0, 4096):
        decoder = hpack.Decoder(1 << 30)
        decoder.header_table_size = decoder.max_allowed_table_size = room
        for fields in [*lists, *lists]:
            assert [(name, value) for name, value in decoder.decode(writer.encode(fields), raw=True)] == fields
        joined = b"".join(writer.field(name, value) for fields in lists for name, value in fields)
        assert [(name, value) for name, value in decoder.decode(joined, raw=True)] == [pair for fields in lists for pair in fields]


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_octets_give_fields_or_one_clean_error(blocks: list[bytes]) -> None:
    decoder = Decoder(100)
    for block in blocks:
        try:
            fields = decoder.decode(block)
        except Oversized:
            continue
        except HpackError:
            return
        assert sum(size for _, _, size in fields) <= 100
