"""Which logger speaks for an access log, and for the program's own log: configurations and what they become."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from terraster.config.loggers import BY_LOGGER, AccessLog, Encoding, ProgramLogger, Rotation, Sampling
from terraster.config.resolve import resolve
from terraster.config.snapshot import Snapshot
from terraster.errors import ConfigError

from .harness.configuration import load

SERVICES = """
services:
  - {name: own, host: own, http_redirect: true, log_name: shop, access_log: OWN}
  - {name: shop, host: shop, http_redirect: true, log_name: shop}
  - {name: other, host: other, http_redirect: true}
"""


def resolved(folder: Path, text: str, *log_configs: str) -> Snapshot:
    (folder / "t.yaml").write_text(dedent(text).replace("OWN", f"{folder}/own.log"))
    return resolve(load(str(folder / "t.yaml"), log_configs=log_configs), 1)


def logs(folder: Path, text: str) -> dict[str, AccessLog]:
    made = resolved(folder, dedent(text) + SERVICES)
    return {**{service.name: service.access_log for service in made.services}, "": made.access_log}


def named(logs: dict[str, AccessLog], folder: Path) -> dict[str, str]:
    return {name: log.path.removeprefix(f"{folder}/") for name, log in logs.items()}


@pytest.mark.parametrize(
    ("loggers", "expected"),
    [
        ("{}", {"own": "own.log", "shop": "top.log", "other": "top.log", "": "top.log"}),
        ("{service_default: {outputPaths: d.log}}", {"own": "own.log", "shop": "d.log", "other": "d.log", "": "top.log"}),
        ("{shop: {outputPaths: [s.log]}}", {"own": "own.log", "shop": "s.log", "other": "top.log", "": "top.log"}),
        (
            "{shop: {outputPaths: [s.log]}, service_default: {outputPaths: [d.log]}}",
            {"own": "own.log", "shop": "s.log", "other": "d.log", "": "top.log"},
        ),
        (
            "{shop: {level: warn}, service_default: {logToConsole: true}}",
            {"own": "own.log", "shop": "-", "other": "-", "": "top.log"},
        ),
    ],
)
def test_who_says_where_a_line_goes(tmp_path: Path, loggers: str, expected: dict[str, str]) -> None:
    assert named(logs(tmp_path, f"access_log: top.log\nloggers: {loggers}\n"), tmp_path) == expected


def test_requests_without_a_service_go_to_the_logger_where_the_top_says_nothing(tmp_path: Path) -> None:
    found = logs(tmp_path, "access_log: {format: common}\nloggers: {service_default: {outputPaths: d.log, level: error}}\n")
    assert (named(found, tmp_path)[""], found[""].least, found[""].format) == ("d.log", 500, "common")


def test_off_at_a_service_is_off(tmp_path: Path) -> None:
    text = "loggers: {service_default: {outputPaths: d.log}}\nservices: [{name: a, http_redirect: true, access_log: off}]\n"
    assert resolved(tmp_path, text).services[0].access_log.path == ""


def test_several_destinations_each_once(tmp_path: Path) -> None:
    found = logs(
        tmp_path,
        """
        loggers:
          service_default: {outputPaths: [a.log, stderr, ./a.log], errorOutputPaths: [bad.log], logToConsole: true}
          shop: {outputPaths: stdout, logToConsole: true}
        """,
    )
    log = found["other"]
    assert (log.path, log.others, log.errors) == (f"{tmp_path}/a.log", ("/dev/fd/2", "-"), (f"{tmp_path}/bad.log",))
    assert (found["shop"].path, found["shop"].others, found["shop"].errors) == ("-", (), ())


def test_levels_hold_wherever_lines_go(tmp_path: Path) -> None:
    found = logs(tmp_path, "loggers: {shop: {level: warn}, service_default: {level: error}}\n")
    assert {name: log.least for name, log in found.items()} == {"own": 400, "shop": 400, "other": 500, "": 500}


def test_an_encoding_holds_where_the_service_has_no_format(tmp_path: Path) -> None:
    found = logs(
        tmp_path,
        """
        access_log: {format: common}
        loggers:
          shop: {encodingConfig: {timeKey: ts, messageKey: "", levelEncoder: CAPITAL}}
          service_default: {encoding: text, encodingConfig: {}}
        """,
    )
    assert (found["shop"].format, found["other"].format) == ("json", "common")
    assert found["shop"].encoding == Encoding(time_key="ts", message_key="", level_encoder="capital")
    assert found["own"].encoding == found["shop"].encoding and found["other"].encoding is None
    plain = logs(tmp_path, "loggers: {service_default: {encoding: json}}\n")
    assert plain["other"].encoding == Encoding()


def test_log_options(tmp_path: Path) -> None:
    text = "services: [{name: a, http_redirect: true, log_options: {headers: true, query_params: false}}]\n"
    log = resolved(tmp_path, text).services[0].access_log
    assert (log.headers, log.query) == (True, False)
    assert resolved(tmp_path, "backends: [http://127.0.0.1:9]\n").services[0].access_log.query is None


WRITTEN = {
    "level": "debug",
    "outputPaths": ["terraster.log"],
    "errorOutputPaths": ["stderr"],
    "development": True,
    "logToConsole": True,
    "sampling": {"initial": 10, "thereafter": 5},
    "encodingConfig": {"timeKey": "ts", "lineEnding": "\n", "callerEncoder": "full"},
    "sanitization": {"sensitiveFields": ["Password"], "mask": "#"},
}


def test_rotation_belongs_to_the_logger_that_says_where(tmp_path: Path) -> None:
    found = logs(
        tmp_path,
        """
        access_log: top.log
        loggers:
          shop: {level: warn, logRotation: {maxSizeMB: 7}}
          service_default: {outputPaths: d.log, logRotation: {maxSizeMB: 2, maxBackups: 3, maxAgeDays: 4, compress: true}}
        """,
    )
    rule = Rotation(2 << 20, 3, 4 * 86400.0, True)
    assert [found[name].rotation for name in ("own", "shop", "other", "")] == [None, rule, rule, None]
    off = logs(tmp_path, "loggers: {service_default: {outputPaths: d.log, logRotation: {enabled: false}}}\n")
    usual = logs(tmp_path, "loggers: {service_default: {outputPaths: d.log, logRotation: on}}\n")
    assert (off["other"].rotation, usual["other"].rotation) == (None, Rotation(100 << 20))


def test_all_who_write_to_a_file_take_part_in_its_rotation(tmp_path: Path) -> None:
    text = "access_log: {path: d.log}\nloggers: {shop: {outputPaths: d.log, logRotation: {maxSizeMB: 2}}}\n"
    found = logs(tmp_path, text)
    assert {name: log.rotation for name, log in found.items()} == {
        "own": None,
        "shop": Rotation(2 << 20),
        "other": Rotation(2 << 20),
        "": Rotation(2 << 20),
    }


def test_a_directory_without_room_for_backups_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.log").touch()
    monkeypatch.setattr("os.access", lambda path, mode: path != str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        logs(tmp_path, "loggers:\n  service_default:\n    outputPaths: [d.log]\n    logRotation: on\n")
    said = f"{tmp_path}/t.yaml:3:19: the log {tmp_path}/d.log cannot be rotated: no file can be created in {tmp_path}"
    assert said in [str(problem) for problem in caught.value.problems]


def test_the_programs_own_log_in_json_and_in_yaml(tmp_path: Path) -> None:
    made = []
    for name, text in (
        ("log.json", json.dumps({"loggers": {"terraster": WRITTEN}})),
        ("log.yaml", yaml.safe_dump({"loggers": {"terraster": WRITTEN}})),
    ):
        (tmp_path / name).write_text(text)
        made.append(resolved(tmp_path, "backends: [http://127.0.0.1:9]\n", str(tmp_path / name)))
    assert made[0].program_log == made[1].program_log
    assert made[0].log_level == "debug"
    assert made[0].program_log == ProgramLogger(
        paths=(f"{tmp_path}/terraster.log",),
        errors=("/dev/fd/2",),
        console=True,
        encoding=Encoding(time_key="ts", caller_encoder="full"),
        json=True,
        traceback=True,
        sampling=Sampling(10, 5),
        masked=("password",),
        mask="#",
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"encodingConfig": {"timeEncoder": "iso8610"}}', "1:54: `timeEncoder` must be one of `iso8601`, `rfc3339`, `rfc3339nano`, `epoch`, "
         "`millis`, `nanos`, not 'iso8610'; did you mean `iso8601`?"),
        ('{"encodingConfig": {"lineEnding": "; "}}', "1:53: `lineEnding` must be a newline, or a carriage return and a newline"),
        ('{"outputPaths": ["stdout", "off"]}', "1:35: `outputPaths` must be `stdout`, `stderr`, a file, syslog or `journald`"),
        ('{"outputPaths": ["/none/of/these/a.log"]}',
         "1:36: the log /none/of/these/a.log cannot be created: there is no directory /none/of/these"),
        ('{"sampling": {"initial": -1}}', "1:44: `initial` must be at least 0"),
        ('{"outputPath": "x"}', "1:20: unknown key `outputPath`; did you mean `outputPaths`?"),
    ],
)  # fmt: skip
def test_mistakes_have_their_place(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "log.json").write_text(f'{{"loggers": {{"a": {written}}}}}')
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path, "backends: [http://127.0.0.1:9]\n", str(tmp_path / "log.json"))
    assert [str(problem) for problem in caught.value.problems] == [f"{tmp_path}/log.json:{said}"]


@pytest.mark.parametrize(
    ("written", "share", "rule"),
    [
        ("off", 1.0, None),
        ("10%", 0.1, None),
        ("0.25", 0.25, None),
        ("on", BY_LOGGER, Sampling(7, 100)),
    ],
)
def test_conditions_and_samples_are_inherited_key_by_key(tmp_path: Path, written: str, share: float, rule: Sampling | None) -> None:
    text = f"""
        access_log: {{sample: {written}, when: status >= 400}}
        loggers: {{service_default: {{sampling: {{initial: 7}}}}}}
        services:
          - name: a
            access_log: {{when: error}}
            locations:
              - {{path: /, redirect: "https://x/", access_log: {{fields: status}}}}
        """
    service = resolved(tmp_path, text).services[0]
    place = service.locations[0].access_log
    assert place is not None and (place.when, place.fields) == ("error", ("status",))
    assert (place.sample, place.sampling, service.access_log.sampling) == (share, rule, rule)
    assert resolved(tmp_path, text.replace("loggers", "#")).services[0].access_log.sampling == (rule and Sampling(100, 100))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("when: status > 5xx", "1:20: `when` compares `status` with '5xx' at character 10, which is not a whole number"),
        ("sample: 0", "1:22: `sample` must be `on`, `off`, or more than 0 and at most 100%"),
        ("sample: 10", "1:22: `sample` must be a share: write 10% or 0.1"),
    ],
)
def test_mistakes_in_conditions_and_samples(tmp_path: Path, written: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path, f"access_log: {{{written}}}\nbackends: [http://127.0.0.1:9]\n")
    assert [str(problem) for problem in caught.value.problems] == [f"{tmp_path}/t.yaml:{said}"]
