"""A file read in pieces says what it says when read whole: the same settings, warnings, and problems in the same places."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terraster.config import incremental, nodes
from terraster.config.resolve import resolve
from terraster.errors import ConfigError
from tests.harness.configuration import Loader

ENVIRON = {"NAME": "n", "PORT": "8081"}


@contextmanager
def uncut() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "cut", lambda text: None)
        yield


def outcome(loader: Loader, file: Path, text: str) -> object:
    file.write_text(text)
    try:
        settings = loader.load(str(file))
    except ConfigError as error:
        return sorted(str(problem) for problem in error.problems)
    return settings.model_copy(), settings.warnings, resolve(settings, 1, environ={})


def whole(file: Path, text: str) -> object:
    with uncut():
        return outcome(Loader(ENVIRON), file, text)


ITEM = """\
{pad}- name: {name}
{pad}  host: h{port}.example.com   # who

{pad}  locations:
{pad}  - path: /
{pad}    backends:
{pad}      - url: http://10.0.0.1:{port}
"""

NAMES = st.sampled_from(
    [
        "a",
        "b",
        "'c'",
        '"d"',
        "${NAME}",
        "x y",
        "&a b",
        "*a",
        "|",
        ">-",
        "- a",
        "[a]",
        "a: b",
        "a #b",
        "a#b",
        "é",
        "'it''s'",
        '"\\u0061"',
    ]
)
EXTRA = st.sampled_from(
    [
        "",
        "{pad}  port: ${{PORT}}\n",
        "{pad}  timeouts: {{read: 1s}}\n",
        "{pad}  timeouts:\n{pad}    read: 1s\n{pad}    conect: 2\n",
        "{pad}  rate_limit: 1\n",
        "{pad}  log_options:\n{pad}    headers: true\n",
        "{pad}  log_name: one\n{pad}   two\n",
        "{pad}  log_name: one\n{pad}     - two\n",
        "{pad}  log_name: |\n{pad}    - name: z\n",
        "{pad}  log_name: 'one\n{pad}- name: z\n{pad}  two'\n",
        '{pad}  log_name: "one\n{pad}- name: z"\n',
        "{pad}  log_name: >\n\n{pad}   x\n",
        "{pad} port: 1\n",
        "{pad}port: 1\n",
        " port: 1\n",
        "{pad}-\n{pad}  name: z\n{pad}  http_redirect: true\n",
        "{pad}-   name: z\n{pad}    http_redirect: true\n",
        "{pad}- z\n",
        "{pad}- - z\n",
        "{pad}- ? z\n",
        "- name: low\n",
        "# note\n",
        "{pad}# note: x\n\n",
        "\t\n",
        "{pad}  headers:\n{pad}    request_headers:\n{pad}      X-A: ${{remote_addr}}\n",
        "{pad}  headers: {{request_headers: {{X-A: '[',\n{pad}- name: z}}}}\n",
        "{pad}  host: [a.b, 'c.d', \"*.e\"]\n",
        "{pad}  listen: [127.0.0.1:80, ':81']\n",
        "{pad}  http_redirect: yes\r\n",
        "services:\n",
        "...\n",
        "---\n",
        "{pad}  log_name: a\u2028b\n",
        "{pad}  log_name: a\x85b\n",
        "{pad}  log_name: a: b\n",
        "{pad}  log_name: http://a:b:\n",
        "{pad}  log_name: a '\n",
        "{pad}  log_name: ! a\n",
        "{pad}  headers: {{request_headers: {{X-A: 'b', X-B: c}}, remove_request_headers: [X-C]}}  # x\n",
        '{pad}  headers: {{request_headers: {{X-A: a"]"}}}}\n',
        "{pad}  middleware: [{{rate_limit: {{requests_per_second: 3}}}}, {{cors: {{}}}}]\n",
        '{pad}  host: [a"]"]\n',
        "{pad}  tls: {{enabled: no}}\n",
        "{pad}  host: [a, &b c]\n",
        "{pad}  host: [a #]\n",
        "{pad}  <<: {{port: 3}}\n",
    ]
)
HEADS = st.sampled_from(
    [
        "",
        "workers: 1\n",
        "access_log: off\n",
        "# top\n",
        "x: |\n  a\n",
        "x: 'a\n",
        "port: 80\n  81\n",
        "? a\n",
        "host:\n",
        "---\n",
        "%YAML 1.1\n---\n",
        "- a\n",
        "foo\n",
        "'a\n",
        "|\n",
        "&a\n",
    ]
)
OPENERS = st.sampled_from(
    [
        "services:\n",
        "services:  # all\n",
        "services:\n# x\n\n",
        "services: &s\n",
        "services: []\n",
        "'services':\n",
        "services :\n",
        "services:\n  x\n",
    ]
)
TAILS = st.sampled_from(
    [
        "",
        "workers: 2\n",
        "prot: 1\n",
        "services:\n  - name: q\n",
        "  port: 3\n",
        "...\n",
        "'\n",
        "port: 90000",
        "}",
        "limits:\n  body_size: 1x\n",
    ]
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    pad = draw(st.sampled_from(["", "  ", "    "]))
    parts = [draw(HEADS), draw(OPENERS)]
    for _ in range(draw(st.integers(0, 4))):
        body = ITEM.format(pad=pad, name=draw(NAMES), port=draw(st.integers(1, 9)))
        parts.append(body + draw(EXTRA).format(pad=pad))
    return "".join([*parts, draw(TAILS)])


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(texts(), min_size=1, max_size=3))
def test_pieces_say_what_the_whole_says(tmp_path: Path, versions: list[str]) -> None:
    file = tmp_path / "t.yaml"
    loader = Loader(ENVIRON)  # keeps what it saw over the versions, as the master does over reloads
    for text in versions:
        assert outcome(loader, file, text) == whole(file, text)


@pytest.mark.parametrize("pad", ["", "  ", "        "])
def test_ordinary_files_are_cut(pad: str) -> None:
    items = [ITEM.format(pad=pad, name=name, port=1) for name in ("a", '"b"', "c")]
    text = "port: 80  # p\nservices:\n" + "".join(items) + "# end\nworkers: 2\n"
    cut = incremental.cut(text)
    assert cut is not None
    assert [piece.text for piece in cut.items] == [*items[:2], items[2] + "# end\n"]
    assert [piece.line for piece in cut.items] == [2, 9, 16]
    assert all(incremental.regular(piece.text) for piece in cut.items)
    assert cut.skeleton.split("\n")[24] == "workers: 2"


@pytest.mark.parametrize("name", ["later-services.yaml", "quickstart.yaml"])
def test_the_seed_files_are_cut(name: str) -> None:
    cut = incremental.cut((Path(__file__).parent / "data" / name).read_text())
    assert cut is not None and all(incremental.regular(piece.text) for piece in cut.items)


def test_a_reload_parses_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [ITEM.format(pad="  ", name=f"s{number}", port=number + 1) for number in range(200)]
    file = tmp_path / "t.yaml"
    loader = Loader({})
    file.write_text("services:\n" + "".join(items))
    first = loader.load(str(file))
    snapshot = resolve(first, 1)
    parsed: list[str] = []
    compose = nodes.compose
    monkeypatch.setattr(nodes, "compose", lambda text: (parsed.append(text), compose(text))[1])
    items[77] = items[77].replace(".1:78", ".1:9")
    file.write_text("services:\n" + "".join(items))
    second = loader.load(str(file))
    assert parsed == ["services:\n" + "\n" * 1400, items[77]]
    after = resolve(second, 2, previous=(first, snapshot))
    same = [one is other for one, other in zip(snapshot.services, after.services, strict=True)]
    assert same.count(False) == 1 and after == resolve(second, 2)


def test_what_the_top_says_reaches_cached_services(tmp_path: Path) -> None:
    loader = Loader({})
    file = tmp_path / "t.yaml"
    text = "services:\n" + ITEM.format(pad="", name="a", port=8)
    file.write_text(text)
    first = loader.load(str(file))
    snapshot = resolve(first, 1)
    file.write_text("health_check: {path: /x}\n" + text)
    second = loader.load(str(file))
    assert second.services[0] is first.services[0]
    assert resolve(second, 2, previous=(first, snapshot)).services[0].locations[0].backends[0].health.path == "/x"


def test_a_missing_certificate_of_a_cached_service_is_seen(tmp_path: Path) -> None:
    loader = Loader({})
    file, pem = tmp_path / "t.yaml", tmp_path / "c.pem"
    pem.touch()
    file.write_text("services:\n" + ITEM.format(pad="", name="a", port=8) + f"  tls:\n    cert_file: {pem}\n")
    loader.load(str(file))
    pem.unlink()
    with pytest.raises(ConfigError) as caught:
        loader.load(str(file))
    assert str(caught.value) == f"{file}:10:16: the certificate file {pem} cannot be read: No such file or directory"


def test_a_bad_file_does_not_empty_the_cache(tmp_path: Path) -> None:
    loader = Loader({})
    file = tmp_path / "t.yaml"
    text = "services:\n" + ITEM.format(pad="", name="a", port=8)
    file.write_text(text)
    first = loader.load(str(file))
    file.write_text("services: 1\n")
    with pytest.raises(ConfigError):
        loader.load(str(file))
    file.write_text(text)
    assert loader.load(str(file)).services[0] is first.services[0]


def test_pause_is_called_while_services_are_parsed(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("services:\n" + "".join(ITEM.format(pad="", name=f"s{number}", port=number + 1) for number in range(120)))
    pauses: list[None] = []
    Loader({}, pause=lambda: pauses.append(None)).load(str(file))
    assert len(pauses) == 2
