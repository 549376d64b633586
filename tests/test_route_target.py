"""The request target: what becomes of it, what is refused, and what always holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.errors import BadRequest
from terraster.route import target_reader
from terraster.route.target import canonical, split_absolute

SAME = [
    b"/",
    b"/a",
    b"/a/",
    b"/a.b/..c/...",
    b"/.well-known/acme-challenge/x",
    b"/-._~!$&'()*+,;=:@",
    b"/%20%C3%A9%3F%23%25",
    b"/a%2Fb",
    b"/a%5Cb",
    b"/a%2F...%2Fb",
    b"/[slug]",
    b"/a%0Ab%7F",
    b"/;..",
]


@pytest.mark.parametrize("path", SAME)
def test_canonical_paths_stay(path: bytes) -> None:
    assert canonical(path, False) == (path, b"")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/%41%62%7a%30%2D%2e%5F%7E", b"/Abz0-._~"),
        (b"/%c3%a9%2f%5c", b"/%C3%A9%2F%5C"),
        (b"/%2541", b"/%2541"),
        (b'/"<>^`{|}', b"/%22%3C%3E%5E%60%7B%7C%7D"),
        (b"/.", b"/"),
        (b"/./", b"/"),
        (b"/a/.", b"/a/"),
        (b"/a/..", b"/"),
        (b"/a/../", b"/"),
        (b"/a/./b/../../c", b"/c"),
        (b"/mid/content=5/../6", b"/mid/6"),
        (b"//", b"/"),
        (b"//a///b//", b"/a/b/"),
        (b"//%2E//a", b"/a"),
        (b"/a//../b", b"/b"),
        (b"/a/..//b", b"/b"),
        (b"/a//?b//c", b"/a/"),
        (b"/a/%2e%2E/b", b"/b"),
        (b"/a/.%2e/b", b"/b"),
        (b"/%2e", b"/"),
    ],
)
def test_paths_become_canonical(target: bytes, path: bytes) -> None:
    assert canonical(target, False)[0] == path


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"//", b"//"),
        (b"//a//b//", b"//a//b//"),
        (b"/a//../b", b"/a/b"),
        (b"/a/..//b", b"//b"),
        (b"//..", b"/"),
        (b"//a?b", b"//a"),
    ],
)
def test_slashes_may_be_kept(target: bytes, path: bytes) -> None:
    assert canonical(target, False, False)[0] == path


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/?", b"/", b""),
        (b"/a?b=c", b"/a", b"b=c"),
        (b"/a?b?c", b"/a", b"b?c"),
        (b"/a?/../%41%zz%", b"/a", b"/../%41%zz%"),
        (b'/?a[]=1|2"<>\\^`{}', b"/", b'a[]=1|2"<>\\^`{}'),
        (b"/%41?%41", b"/A", b"%41"),
        (b"/?%00", b"/", b"%00"),
    ],
)
def test_queries_travel_as_they_came(target: bytes, path: bytes, query: bytes) -> None:
    assert canonical(target, False) == (path, query)


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"a",
        b"?a",
        b"*",
        b"http://a/",
        b"/..",
        b"/../a",
        b"/a/../..",
        b"//..",
        b"/%2e%2e",
        b"/a/..%2Fb",
        b"/a/..%2fb",
        b"/%2e%2e%2fetc",
        b"/a%2f../b",
        b"/a%2F.",
        b"/%5C..",
        b"/..%5cetc",
        b"/.%2Fa",
        b"/a%2F%2e%2e%2Fb",
        b"/a/..;x=y/b",
        b"/a/..;%2Fb",
        b"/.;/",
        b"/%00",
        b"/a%00.txt",
        b"/%",
        b"/%2",
        b"/%zz",
        b"/%%41",
        b"/% 41",
        b"/a\\b",
        b"/a b",
        b"/a#b",
        b"/a?b#c",
        b"/a?b c",
        b"/a?\xff",
        b"/\xc3\xa9",
        b"/\x7f",
        b"/\n",
        b"/a\0",
        b"/?\r",
    ],
)
def test_refused(target: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        canonical(target, False)
    assert caught.value.status == 400


@pytest.mark.parametrize("target", [b"/a%2Fb", b"/a%2fb", b"/%5c", b"/a/%5Cb?x"])
def test_encoded_slashes_can_be_refused_altogether(target: bytes) -> None:
    canonical(target, False)
    with pytest.raises(BadRequest):
        canonical(target, True)


def test_encoded_slashes_in_the_query_do_not_matter() -> None:
    assert canonical(b"/a?b%2Fc", True) == (b"/a", b"b%2Fc")


NASTY = st.lists(
    st.sampled_from(
        [b"/", b".", b"..", b"%2e", b"%2F", b"%2f", b"%5C", b"%", b"%25", b"a", b"%41", b"?", b"#", b";", b'"', b"\\", b"%00"]
    ),
    max_size=12,
).map(lambda parts: b"/" + b"".join(parts))


@given(st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(lambda rest: b"/" + rest), NASTY), st.booleans(), st.booleans())
def test_any_octets_become_one_canonical_path_or_one_clean_error(target: bytes, refuse: bool, merge: bool) -> None:
    try:
        path, query = canonical(target, refuse, merge)
    except BadRequest as error:
        assert error.status == 400
        return
    assert canonical(path, refuse, merge) == (path, b"")
    assert canonical(path + b"?" + query, refuse, merge) == (path, query)
    assert not merge or b"//" not in path
    assert path.startswith(b"/")
    assert all(0x21 <= octet < 0x7F for octet in path + query)
    decoded = path.replace(b"%2F", b"/").replace(b"%5C", b"/").replace(b"%2E", b".")
    assert not {b".", b".."} & {segment.partition(b";")[0] for segment in decoded.split(b"/")}
    if refuse:
        assert b"%2F" not in path and b"%5C" not in path


UNRESERVED = b"abcXYZ019-._~"


@given(st.data())
def test_encoding_unreserved_characters_makes_no_difference(data: st.DataObject) -> None:
    plain = b"/" + bytes(data.draw(st.lists(st.sampled_from(UNRESERVED + b"/"), max_size=20)))
    spelled = b"".join(
        data.draw(st.sampled_from([b"%%%02X" % octet, b"%%%02x" % octet, bytes((octet,))])) if octet != 47 else b"/"
        for octet in plain
    )
    assert _outcome(spelled) == _outcome(plain)


def _outcome(target: bytes) -> bytes | None:
    try:
        return canonical(target, False)[0]
    except BadRequest:
        return None


@pytest.mark.parametrize(
    ("target", "authority", "rest"),
    [
        (b"http://a.test/b?c", b"a.test", b"/b?c"),
        (b"HTTPS://A.test:8443/", b"A.test:8443", b"/"),
        (b"http://a.test", b"a.test", b"/"),
        (b"http://a.test?b", b"a.test", b"/?b"),
        (b"http://[::1]:80/x/../y", b"[::1]:80", b"/x/../y"),
        (b"http://a.test//b", b"a.test", b"//b"),
    ],
)
def test_absolute_form(target: bytes, authority: bytes, rest: bytes) -> None:
    assert split_absolute(target) == (authority, rest)


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"*",
        b"a.test:80",
        b"a",
        b"ftp://a/",
        b"http:/a",
        b"http:///a",
        b"http://u@a/",
        b"http://u:p@a/",
        b"http://a\\b/",
        b"http://?a",
    ],
)
def test_what_is_no_http_url(target: bytes) -> None:
    with pytest.raises(BadRequest):
        split_absolute(target)


@given(st.binary(max_size=30))
def test_split_absolute_raises_nothing_else(rest: bytes) -> None:
    for target in (rest, b"http://" + rest):
        try:
            authority, path = split_absolute(target)
        except BadRequest:
            continue
        assert authority and path.startswith(b"/")


@pytest.mark.skipif(canonical is target_reader.canonical, reason="targets are not read by compiled code here")
@given(
    st.one_of(
        st.binary(max_size=30).map(lambda octets: b"/" + octets),
        st.text("/.?%2Fa;#~[\\", max_size=20).map(str.encode),
        st.text("/ab.-", max_size=20).map(str.encode),
    ),
    st.booleans(),
    st.booleans(),
)
def test_both_speeds_read_a_target_alike(target: bytes, refuse: bool, merge: bool) -> None:
    """Also with each octet behind it, before it and in its query."""
    for one in (target, target + b"?", target + b"?a=b&c", *(b"/a%b" % bytes((octet,)) + target for octet in range(256))):
        outcomes = []
        for read in (canonical, target_reader.canonical):
            try:
                outcomes.append(read(one, refuse, merge))
            except BadRequest as error:
                outcomes.append((error.status, error.detail))
        assert outcomes[0] == outcomes[1], one
