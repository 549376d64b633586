"""Where the lines of an access log go, which of them, and how an encoding writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from terraster.config.loggers import AccessLog, Encoding
from terraster.logs.access import AccessWriter
from terraster.logs.renderer import Renderer

from .test_logs_access import an_exchange, no_warning, soon


def written(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def log(folder: Path, **keys: object) -> None:
    writer = AccessWriter(AccessLog(path=f"{folder}/all", fields=("status",), **keys), no_warning, soon)  # type: ignore[arg-type]
    for status in (200, 404, 503):
        writer.write(an_exchange(status=status))
    writer.close()


def statuses(path: Path) -> list[int]:
    return [json.loads(line)["status"] for line in written(path)]


def test_several_destinations_and_one_for_errors(tmp_path: Path) -> None:
    log(tmp_path, others=(f"{tmp_path}/more",), errors=(f"{tmp_path}/bad", f"{tmp_path}/more"))
    found = {name: statuses(tmp_path / name) for name in ("all", "more", "bad")}
    assert found == {"all": [200, 404, 503], "more": [200, 404, 503], "bad": [503]}


@pytest.mark.parametrize(("least", "kept"), [(0, [200, 404, 503]), (400, [404, 503]), (500, [503])])
def test_levels(tmp_path: Path, least: int, kept: list[int]) -> None:
    log(tmp_path, least=least, errors=(f"{tmp_path}/bad",))
    assert (statuses(tmp_path / "all"), statuses(tmp_path / "bad")) == (kept, [503])


def one(**config: object) -> str:
    return Renderer(AccessLog(**config)).line(an_exchange())  # type: ignore[arg-type]


def test_an_encoding_names_the_keys_and_its_logger() -> None:
    encoding = Encoding(
        time_key="ts", level_key="severity", name_key="from", message_key="message", level_encoder="capital", time_encoder="rfc3339"
    )
    found = json.loads(one(encoding=encoding, logger="shop"))
    assert list(found)[:5] == ["ts", "severity", "from", "message", "client"]
    assert [found[key] for key in list(found)[:4]] == ["2023-11-14T22:13:20Z", "INFO", "shop", "request"]
    assert set(json.loads(one())) - set(found) == {"time"}


def test_an_empty_key_leaves_it_out() -> None:
    encoding = Encoding(time_key="", level_key="", name_key="", message_key="")
    assert set(json.loads(one(encoding=encoding))) == set(json.loads(one())) - {"time"}


@pytest.mark.parametrize(
    ("encoder", "shown"),
    [
        ("iso8601", "2023-11-14T22:13:20.125Z"),
        ("rfc3339nano", "2023-11-14T22:13:20.125000000Z"),
        ("epoch", 1700000000.125),
        ("millis", 1700000000125),
        ("nanos", 1700000000125000000),
    ],
)
def test_times(encoder: str, shown: object) -> None:
    found = json.loads(one(encoding=Encoding(time_encoder=encoder)))["time"]
    assert found == shown


@pytest.mark.parametrize(("encoder", "shown"), [("seconds", 0.0015), ("string", "1.5ms"), ("ms", 1.5), ("nanos", 1500000)])
def test_durations(encoder: str, shown: object) -> None:
    encoding = Encoding(duration_encoder=encoder)
    assert json.loads(one(encoding=encoding))["duration"] == shown
    nothing = Renderer(AccessLog(encoding=encoding)).line(an_exchange(upstream_time=-1.0))
    assert json.loads(nothing)["upstream_time"] is None


def test_an_end_of_line() -> None:
    assert one(encoding=Encoding(line_ending="\r\n")).endswith("}\r\n")


def test_chosen_fields_with_an_encoding() -> None:
    assert one(encoding=Encoding(name_key="", message_key=""), fields=("status", "time_clf", "level")) == (
        '{"status":200,"time_clf":"14/Nov/2023:22:13:20 +0000","level":"info"}\n'
    )


def test_headers_and_parameters_without_secrets() -> None:
    x = an_exchange(target=b"/a?token=t&a=1&a=2&b=%7B%22token%22:%22t%22%7D&c")
    x.head.fields = [*x.head.fields, (b"Cookie", b"a=b"), (b"X-Many", b"1"), (b"x-many", b"\xff"), (b"Api-Key", b"k")]
    found = json.loads(Renderer(AccessLog(headers=True, query=True)).line(x))
    assert found["query_params"] == {"token": "****", "a": ["1", "2"], "b": '{"token":"****"}', "c": ""}
    headers = {"x-many": "1, \\xff", "cookie": "****", "api-key": "****", "host": "shop.example"}
    assert headers.items() <= found["headers"].items()
    text = Renderer(AccessLog(format="{level} {headers}")).line(x)
    assert text.startswith("info {") and text.count("\n") == 1 and '\\"cookie\\":\\"****\\"' in text


def test_no_line_has_the_query_if_that_is_said() -> None:
    line = Renderer(AccessLog(query=False)).line(an_exchange(target=b"/a?x=secret"))
    found = json.loads(line)
    assert found["uri"] == "/a" and "?" not in line
