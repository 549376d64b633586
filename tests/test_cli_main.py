"""`terraster` as a command: what it says and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from terraster import __version__
from terraster.cli import ctl, demo, where
from terraster.cli.main import main
from terraster.compiled import rooms
from terraster.config.resolve import resolve
from terraster.config.snapshot import Backend, Location, Service, Snapshot
from terraster.errors import StartError
from tests.harness.configuration import load

from .harness.authority import Authority
from .harness.ports import free_port
from .harness.program import Program
from .harness.terraster_process import Terraster, is_gone, service, wait_gone
from .test_config_loader import Writers

ROOT = Path(__file__).parent.parent


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "terraster.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, env=environment)


def write(path: Path, **keys) -> str:
    backends = [{"url": "http://127.0.0.1:1"}, {"url": "http://127.0.0.1:2"}]
    config = {"listen": "127.0.0.1:8080", "services": [{"name": "s", "locations": [{"path": "/", "backends": backends}]}], **keys}
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize("spelling", ["--version", "-version"])
def test_version(spelling):
    result = run(spelling)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"terraster {__version__} ({rooms()})\n", "")


def test_version_as_json_names_the_rooms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": __version__, "rooms": rooms().as_dict()}


HEAVY = {
    "pydantic",
    "gevent",
    "gunicorn",
    "terraster.config.settings",
    "terraster.config.snapshot",
    "terraster.config.incremental",
    "terraster.plan",
}
"""What takes tenths of a second to import, and is of no use to a command that only asks or tells something."""


@pytest.mark.parametrize(
    ("module", "arguments", "code"),
    [
        ("main", ["--version"], 0),
        ("main", ["--help"], 0),
        ("ctl", ["--version"], 0),
        ("ctl", ["--config", "a.yaml", "status"], 3),
        ("ctl", ["--config", "a.yaml", "reload"], 3),
        ("ctl", ["--config", "a.yaml", "why", "http://127.0.0.1:1"], 3),
        ("ctl", ["--config", "a.yaml", "backend", "drain", "s", "http://127.0.0.1:1", "--for", "1m"], 3),
    ],
)
def test_what_only_asks_or_tells_does_not_import_what_serves(tmp_path, module, arguments, code):
    write(tmp_path / "a.yaml", runtime_dir="run")
    script = (
        f"import sys\nfrom terraster.cli.{module} import main\ntry:\n    code = main({arguments!r})\n"
        "except SystemExit as left:\n    code = left.code\nprint(code, *sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment)
    ended, *imported = result.stdout.splitlines()[-1].split()
    assert ended == str(code), result.stderr
    assert f"terraster.cli.{module}" in imported and HEAVY.isdisjoint(imported)


@pytest.mark.parametrize("command", [main, ctl.main])
def test_help_lists_each_option_once(capsys, command):
    with pytest.raises(SystemExit):
        command(["--help"])
    listed = re.findall(r"^  (-.*?)(?:  |$)", capsys.readouterr().out, re.MULTILINE)
    assert len(listed) > 4 and listed[0] == "-h, --help"
    assert all(re.fullmatch(r"--[a-z-]+(?: [A-Z]\S*)?", option) for option in listed[1:]), listed


@pytest.mark.parametrize(
    ("command", "words", "hint"),
    [
        (ctl.main, "whi", "; did you mean `why`?"),
        (ctl.main, "backend dran", "; did you mean `drain`?"),
        (ctl.main, "maintenance onn shop", "; did you mean `on`?"),
        (ctl.main, "--runtimedir=/x status", "; did you mean `--runtime-dir`?"),
        (ctl.main, "xyzzy", "certificates"),
        (ctl.main, "reload --all", "unrecognized arguments: --all"),
        (main, "plguin new x", "; did you mean `plugin`?"),
        (main, "plugin nwe", "; did you mean `new`?"),
        (main, "--explian x", "; did you mean `--explain`?"),
        (main, "xyzzy", "unrecognized arguments: xyzzy"),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest_one(capsys, command, words: str, hint: str):
    with pytest.raises(SystemExit) as left:
        command(words.split())
    assert left.value.code == 2
    assert capsys.readouterr().err.rstrip("')\n").endswith(hint)


def test_no_command_waits_for_a_pipe_in_place_of_its_file(tmp_path, capsys):
    with Writers(tmp_path / "pipe") as writers:
        pipe = str(writers.pipe)
        for command, words in (
            (main, ["--check", "--config", pipe]),
            (main, ["--schema", "--config", pipe]),
            (main, ["plugin", "test", pipe]),
            (ctl.main, ["--config", pipe, "status"]),
        ):
            assert command(words) in (1, 2)
            assert "it is a named pipe, not a file" in capsys.readouterr().err, words
        assert not writers.came


def test_schema_is_json_schema(capsys):
    assert main(["--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].startswith("https://json-schema.org/") and schema["type"] == "object"
    assert {"services", "listen", "workers", "runtime_dir"} <= schema["properties"].keys()
    for reference in re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(schema)):
        assert reference in schema["$defs"]


def test_output_that_nobody_reads_is_no_accident():
    command = f"'{sys.executable}' -m terraster.cli.main --schema | head -n 1"
    result = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert (result.stdout, result.stderr) == ("{\n", "")


@pytest.mark.parametrize("spelling", ["--config", "-config"])
def test_check_of_a_good_file(tmp_path, capsys, spelling):
    assert main(["--check", spelling, write(tmp_path / "a.yaml")]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"OK: {tmp_path}/a.yaml: 1 service, 1 location, 2 backends, 1 listener\n"


def test_check_names_the_file_that_it_chose(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--check"]) == 0
    assert capsys.readouterr().out.startswith(f"OK: {where.PACKAGED}: 1 service")
    write(tmp_path / "config.yaml")
    assert main(["--check"]) == 0
    assert capsys.readouterr().out.startswith("OK: config.yaml: 1 service")


def test_check_for_programs(tmp_path, capsys):
    path = write(tmp_path / "a.yaml")
    assert main(["--check", "--json", "--config", path]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["file"], found["services"], found["backends"], found["problems"]) == (True, path, 1, 2, [])


def test_check_tells_all_problems(tmp_path, capsys):
    path = write(tmp_path / "a.yaml", wrokers=2, algorithm="round-rubin")
    assert main(["--check", "--config", path]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 2 and all(re.match(rf"{re.escape(path)}:\d+:\d+: ", line) for line in lines)
    assert main(["--check", "--json", "--config", path]) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert sorted(f"{one['file']}:{one['line']}:{one['column']}: {one['message']}" for one in problems) == sorted(lines)


def test_check_warns_of_what_has_no_effect(tmp_path, capsys):
    assert main(["--check", "--config", write(tmp_path / "a.yaml", auth={"jwt_secret": "short"})]) == 0
    captured = capsys.readouterr()
    assert "warning: " in captured.err and "`jwt_secret` has 5 octets" in captured.err and captured.out.startswith("OK: ")


def test_a_strict_check_fails_for_a_warning(tmp_path, capsys):
    warned = write(tmp_path / "a.yaml", auth={"jwt_secret": "short"})
    assert main(["--check", "--strict", "--config", warned]) == 2
    said = capsys.readouterr()
    assert "warning: " in said.err and said.out == ""
    assert main(["--check", "--strict", "--json", "--config", warned]) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["problems"], len(told["warnings"])) == (False, [], 1)
    assert main(["--check", "--strict", "--config", write(tmp_path / "b.yaml")]) == 0  # a note is no warning
    assert capsys.readouterr().out.startswith("OK: ")
    with pytest.raises(SystemExit) as end:
        main(["--strict", "--config", warned])
    assert end.value.code == 2


def test_check_notes_where_nothing_says_how_backends_are_probed(tmp_path, capsys):
    path = write(tmp_path / "a.yaml")
    assert main(["--check", "--config", path]) == 0
    said = capsys.readouterr().err
    assert re.fullmatch(rf"note: {re.escape(path)}:\d+:\d+: no `health_check`: /health must answer .*\n", said)
    assert main(["--check", "--json", "--config", path]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [f"note: {note}\n" for note in found["notes"]] == [said] and found["warnings"] == []
    for check in ({"path": "/"}, {"type": "tcp"}, "off"):
        assert main(["--check", "--config", write(tmp_path / "a.yaml", health_check=check)]) == 0
        assert capsys.readouterr().err == ""


def test_what_wants_tls_is_checked_but_not_started(tmp_path, capsys):
    path = write(tmp_path / "a.yaml", tls={"default": True}, admin_api={"tls": {"auto_cert": True}})
    assert main(["--check", "--config", path]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("OK: ")
    assert re.search(rf"^warning: {re.escape(path)}:\d+:\d+: `tls` .* does not start", captured.err, re.MULTILINE)
    assert re.search(rf"^warning: {re.escape(path)}:\d+:\d+: `tls` .* the management port 127", captured.err, re.MULTILINE)
    result = run("--config", path)
    assert result.returncode == 2 and re.match(rf"{re.escape(path)}:\d+:1: `tls` needs `cert_file`", result.stderr)


def test_a_check_reads_certificates(tmp_path, capsys):
    (tmp_path / "c.pem").touch()
    path = write(tmp_path / "a.yaml", tls={"cert_file": "c.pem"})
    assert main(["--check", "--config", path]) == 2
    assert f"service s: certificate {tmp_path}/c.pem: the file is empty" in capsys.readouterr().err


FAULTY = """\
services:
  - name: s
    host: a.test
    tls:
      cert_file: good.pem
      key_file: good.key
      certificates:
        - cert_file: alone.pem
      client_auth:
        mode: require
        ca_file: root.pem
        crl_file: good.key
    locations:
      - path: /
        ca_file: good.key
        backends:
          - url: https://127.0.0.1:1
            client_cert: good.pem
          - url: https://127.0.0.1:2
            client_cert: alone.pem
            client_key: other.key
"""
FAULTS = [
    (8, 22, "service s: certificate alone.pem: there is no private key in it: name the key's file with `key_file`"),
    (12, 19, "service s: client certificates, root.pem with good.key: the file has no CRL in PEM form"),
    (15, 18, "backend https://127.0.0.1:1: good.key has no certificate in PEM form"),
    (
        18,
        26,
        "backend https://127.0.0.1:1: certificate good.pem: there is no private key in it: name the key's file with `client_key`",
    ),
    (20, 26, "backend https://127.0.0.1:2: certificate alone.pem with key other.key: the key does not belong to the certificate"),
]


def test_a_check_names_the_place_of_each_file_that_cannot_be_used(tmp_path, capsys):
    authority = Authority()
    issued = authority.issue("a.test")
    for name, octets in (("good.pem", issued.chain), ("good.key", issued.key), ("root.pem", authority.root)):
        (tmp_path / name).write_bytes(octets)
    (tmp_path / "alone.pem").write_bytes(issued.chain)
    (tmp_path / "other.key").write_bytes(authority.issue("a.test").key)
    (tmp_path / "a.yaml").write_text(FAULTY)
    assert main(["--check", "--config", str(tmp_path / "a.yaml")]) == 2
    *problems, note = capsys.readouterr().err.replace(f"{tmp_path}/", "").splitlines()
    assert sorted(problems) == sorted(f"a.yaml:{line}:{column}: {words}" for line, column, words in FAULTS)
    assert note.startswith("note: a.yaml:16:9: no `health_check`")  # notes come last


def test_a_check_says_what_is_wrong_with_tls_of_the_management_port(tmp_path, capsys):
    (tmp_path / "c.pem").touch()
    for tls, words, code in (
        ({"cert_file": "c.pem"}, f"management API: certificate {tmp_path}/c.pem: the file is empty", 2),
        ({"cert_file": "c.pem", "client_auth": {"ca_file": "c.pem"}}, "`client_auth` does not work for the management API", 2),
        ({"cert_file": "none.pem"}, "none.pem", 2),
        ({"cert_dir": "."}, "`cert_dir` has no effect on the management API", 0),
        ({"ocsp": "fetch"}, "`ocsp` has no effect on the management API", 0),
    ):
        path = write(tmp_path / "a.yaml", api={"tls": tls})
        assert main(["--check", "--config", path]) == code
        assert words in capsys.readouterr().err


def test_a_check_warns_of_folders_of_certificates(tmp_path, capsys):
    path = write(tmp_path / "a.yaml", tls={"cert_dir": "there"})
    assert main(["--check", "--config", path]) == 0
    assert f"warning: cannot list {tmp_path}/there: No such file or directory" in capsys.readouterr().err
    (tmp_path / "there").mkdir()
    for name in ("a.pem", "a.key", "authority.pem"):
        (tmp_path / "there" / name).touch()
    assert main(["--check", "--config", path]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if "there" in line]
    files = f"certificate {tmp_path}/there/a.pem with key {tmp_path}/there/a.key"
    assert warned == [f"warning: {files}: the file is empty; it is not used"]


def test_a_check_warns_of_ocsp_responses_that_cannot_be_sent(tmp_path, capsys):
    ca = Authority()
    one, other = ca.issue("a.test", days=90), ca.issue("b.test")
    chain, _ = one.write(tmp_path)
    file = tmp_path / "a.ocsp"
    words = f"warning: service s: no OCSP response is sent: {file}: "
    for response, why in (
        (None, f"warning: service s: no OCSP response is sent: cannot read {file}: No such file or directory"),
        (b"no response", words + "this is no OCSP response"),
        (ca.ocsp(other), words + f"the response is for the serial number {other.serial:X}; the certificate has {one.serial:X}"),
        (ca.ocsp(one, lasts=-5), words + "the response expired at"),
        (ca.ocsp(one), ""),
    ):
        if response is not None:
            file.write_bytes(response)
        path = write(tmp_path / "a.yaml", tls={"cert_file": str(chain), "key_file": "site.key", "ocsp": "a.ocsp"})
        assert main(["--check", "--config", path]) == 0
        said = capsys.readouterr().err
        assert why in said if why else "OCSP" not in said
    path = write(tmp_path / "a.yaml", tls={"cert_file": str(chain), "key_file": "site.key", "ocsp": "fetch"})
    assert main(["--check", "--config", path]) == 0
    assert "the certificate names no OCSP responder" in capsys.readouterr().err


def test_check_compiles_what_a_start_would_compile(tmp_path, capsys, monkeypatch):

    def refuse(location: Location, members: object) -> None:
        raise StartError(f"no balancer {location.policy}")

    monkeypatch.setattr("terraster.location_plan.make", refuse)
    assert main(["--check", "--config", write(tmp_path / "a.yaml")]) == 2
    assert "no balancer round-robin" in capsys.readouterr().err


def test_check_of_a_missing_file(tmp_path, capsys):
    assert main(["--check", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_more_files(tmp_path, capsys):
    services = tmp_path / "services"
    services.mkdir()
    (services / "b.yml").write_text(
        "services:\n- name: b\n  host: b.example\n  locations: [{path: /, backends: [{url: 'http://127.0.0.1:3'}]}]\n"
    )
    logs = [tmp_path / "one.json", tmp_path / "two.json"]
    logs[0].write_text('{"loggers": {"terraster": {"level": "debug"}}}')
    logs[1].write_text("{}")
    arguments = ["--config", write(tmp_path / "a.yaml"), "-services", str(services), "-log_configs", ",".join(map(str, logs))]
    assert main(["--check", *arguments]) == 0
    assert capsys.readouterr().out.startswith(f"OK: {tmp_path}/a.yaml: 2 services")
    assert main(["--check", *arguments, "--log-config", str(tmp_path / "none.json")]) == 2


def test_which_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert where.configuration("x.yaml") == "x.yaml"
    assert where.configuration(None) == where.PACKAGED and os.path.exists(where.PACKAGED)
    (tmp_path / "config.yaml").write_text("")
    assert where.configuration(None) == "config.yaml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("runtime_dir: /run/here\n", "/run/here"),
        ("port: 1\nruntime_dir: '/run/a b'  # here\nbroken: [\n", "/run/a b"),
        ('"runtime_dir": /run/${WHO}/${NONE:-x}\n', "/run/me/x"),
        ("runtime_dir: run\n", "{folder}/run"),
        ("runtime_dir: ../run/./x\nbroken: [\n", "{parent}/run/x"),
        ("{port: 1, runtime_dir: /run/flow}\n", "/run/flow"),
        ('{\n  "port": 1,\n  "runtime_dir": "run",\n  "services": []\n}\n', "{folder}/run"),
        ('{"runtime_dir": "/run/json",\n "services": [}\n', "/run/json"),
        ("runtime_dir:\n  /run/below\n", "/run/below"),
        ("runtime_dir: /run/top\nservices:\n- name: a\n  runtime_dir: /not/this\n", "/run/top"),
        ("services:\n  runtime_dir: /not/this\n", None),
        ("runtime_dir: [\n", None),
        ("runtime_dir: ${NONE}\n", None),
        ("runtime_dir: 8\n", "{folder}/8"),
        ("- a\n", None),
        ("", None),
    ],
)
def test_the_runtime_directory_is_found_in_any_file(tmp_path, monkeypatch, text, expected):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    environ = {"WHO": "me", "XDG_RUNTIME_DIR": "/run/user/1"}
    expected = expected and expected.format(folder=tmp_path, parent=tmp_path.parent)
    for given in (str(path), "../a.yaml"):
        assert where.find_runtime_dir(given, environ) == (expected or where.find_runtime_dir(os.devnull, environ))


def test_the_runtime_directory_of_a_large_file_is_found_without_parsing_its_services(tmp_path, monkeypatch):
    composed = []
    compose = where.nodes.compose
    monkeypatch.setattr(where.nodes, "compose", lambda text: composed.append(text) or compose(text))
    item = "- name: {}\n  locations: [{{path: /, redirect: 'https://a.example/'}}]\n"
    text = "services:\n" + "".join(map(item.format, range(1000))) + "runtime_dir: /run/here\n"
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert where.find_runtime_dir(str(path), {}) == "/run/here"
    assert len(composed) == 1 and "locations" not in composed[0]


def test_both_commands_mean_the_same_place(tmp_path):
    path = write(tmp_path / "a.yaml", runtime_dir="run")
    assert resolve(load(path), 1).runtime_dir == where.find_runtime_dir(path, os.environ) == str(tmp_path / "run")


def test_a_configuration_that_cannot_be_used_is_not_started(tmp_path):
    result = run("--config", write(tmp_path / "a.yaml", wrokers=2))
    assert result.returncode == 2 and "unknown key `wrokers`; did you mean `workers`?" in result.stderr


def test_a_port_in_use_stops_the_start(tmp_path):
    with Terraster(tmp_path / "one", service("http://127.0.0.1:1")) as one:
        path = write(
            tmp_path / "a.yaml", listen=f"127.0.0.1:{one.port}", runtime_dir=str(tmp_path / "run"), health_check={"type": "none"}
        )
        result = run("--config", path)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    words = rf"process \d+ \(.+\) listens there; end it, or configure another port \(asked for by service `s`, {path}:\d+:9\)"
    assert re.fullmatch(
        rf"terraster: cannot start: cannot listen on 127\.0\.0\.1:{one.port}: Address already in use: {words}", last
    ), last


def test_the_demo_takes_the_first_backends_on_this_host():
    def snapshot(*urls: str) -> Snapshot:
        made = []
        for url in urls:
            scheme, _, rest = url.partition("://")
            host, _, port = rest.rpartition(":")
            made.append(Backend(url, url, scheme, host.strip("[]"), int(port)))
        made.append(Backend("unix", "unix:/run/app.sock", "http", "localhost", 80, address="unix:/run/app.sock"))
        return Snapshot(1, (), (Service("s", ("*",), (), (Location("s/", "/", backends=tuple(made)),)),))

    urls = (
        "http://10.0.0.1:80",
        "https://127.0.0.1:1",
        "http://127.0.0.1:2",
        "http://127.0.0.1:2",
        "http://[::1]:3",
        "http://127.0.0.1:4",
    )
    assert demo.addresses(snapshot(*urls)) == [("127.0.0.1", 2), ("::1", 3)]
    with pytest.raises(StartError):
        demo.addresses(snapshot("http://10.0.0.1:80"))


def test_the_demo_from_start_to_end(tmp_path):
    port, admin, metrics, *backends = (free_port() for _ in range(5))
    path = write(
        tmp_path / "demo.yaml",
        listen=f"127.0.0.1:{port}",
        admin_port=admin,
        metrics={"listen": f"127.0.0.1:{metrics}"},
        runtime_dir=str(tmp_path / "run"),
        workers=1,
        services=[
            {"name": "s", "locations": [{"path": "/", "backends": [{"url": f"http://127.0.0.1:{one}"} for one in backends]}]}
        ],
    )
    command = [sys.executable, "-m", "terraster.cli.main", "--demo", "--config", path]
    with Program(command, tmp_path / "output", PYTHONPATH=str(ROOT)) as program:
        program.wait_ready(lambda: "Stop with Ctrl-C" in program.said, 30)
        assert f"curl http://127.0.0.1:{port}/" in program.said and f"terrasterctl --config {path} status" in program.said
        assert program.said.count("Stop with Ctrl-C") == 1
        seen = set()
        for _ in range(4):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/x?y=1", timeout=10) as answer:
                said = json.load(answer)
            seen.add(said["backend"])
            assert (said["path"], said["query"]) == ("/x", "y=1") and "x-request-id" in said["headers"]
        assert seen == {"demo-1", "demo-2"}
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/stream?events=2", timeout=10) as answer:
            assert answer.read().count(b"data: ") == 2
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/slow?ms=1", timeout=10) as answer:
            assert answer.status == 200
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        players = [int(pid) for pid in children if b"terraster.cli.demo" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(players) == 2
        assert program.stop() == 0
        assert all(is_gone(pid) for pid in players)
        assert "Traceback" not in program.said


def test_the_demo_has_nothing_to_say_when_it_cannot_start(tmp_path):
    backends = [{"url": f"http://127.0.0.1:{free_port()}"} for _ in range(2)]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        path = write(
            tmp_path / "demo.yaml",
            listen=f"127.0.0.1:{taken.getsockname()[1]}",
            runtime_dir="run",
            services=[{"name": "s", "locations": [{"path": "/", "backends": backends}]}],
        )
        result = run("--demo", "--config", path)
    assert (result.returncode, result.stdout) == (1, "") and "in use" in result.stderr


def test_the_demo_names_the_command_that_lies_beside_it(tmp_path, monkeypatch):
    commands = tmp_path / "my env" / "bin"
    commands.mkdir(parents=True)
    for name in ("terraster", "terrasterctl"):
        (commands / name).touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(commands / "terraster"), "--demo"])
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(tmp_path)
    snapshot = Snapshot(1, (), ())
    assert "  'my env/bin/terrasterctl' --config x.yaml status " in demo.advice(snapshot, "x.yaml", [])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert f"Stop with Ctrl-C, or: '{commands}/terrasterctl' --config x.yaml stop" in demo.advice(snapshot, "x.yaml", [])


def test_demo_backends_leave_when_their_parent_is_killed(tmp_path):
    port = free_port()
    code = (
        "import time; from terraster.cli import demo; "
        f"print(demo.start([('127.0.0.1', {port})])[0].process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert parent.stdout is not None
    player = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_gone(player)


def test_a_demo_backend_whose_port_is_taken_stops_the_start(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StartError, match="in use"):
            demo.start([("127.0.0.1", free_port()), ("127.0.0.1", taken.getsockname()[1])])


def test_the_checkout_has_the_commands_too(tmp_path):
    for name in ("terraster", "terrasterctl"):
        result = subprocess.run(
            [sys.executable, str(ROOT / "bin" / name), "--version"], capture_output=True, text=True, cwd=tmp_path
        )
        assert result.stdout.startswith(f"{name} {__version__}")
        assert os.access(ROOT / "bin" / name, os.X_OK)


def test_the_demo_advises_requests_that_reach_a_backend(tmp_path):
    services = [
        {"name": "old", "host": "old.test", "locations": [{"path": "/", "redirect": "https://new.test/"}]},
        {"name": "shop", "host": "shop.test", "locations": [{"path": "/", "backends": [{"url": "http://127.0.0.1:9001"}]}]},
    ]
    snapshot = resolve(load(write(tmp_path / "demo.yaml", services=services)), 1)
    text = demo.advice(snapshot, "demo.yaml", [])
    assert "curl -H 'Host: shop.test' http://127.0.0.1:8080/ " in text and "old.test" not in text


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"tls": {"cert_file": "empty.pem"}}, "service s: certificate {}/empty.pem: the file is empty"),
        ({"client_cert": "good.pem", "client_key": "empty.pem"}, "with key {}/empty.pem: the key file is empty"),
        ({"ca_file": "empty.pem"}, "backend https://127.0.0.1:1: "),
        ({"api": {"tls": {"cert_file": "empty.pem"}}}, "management API: certificate {}/empty.pem: the file is empty"),
        (
            {"tls": {"cert_file": "good.pem", "key_file": "good.key", "client_auth": {"mode": "require", "ca_file": "empty.pem"}}},
            "service s: ",
        ),
    ],
    ids=["service", "client certificate", "authorities", "management", "authorities of clients"],
)
def test_a_start_and_a_check_name_the_same_place_of_a_file_that_cannot_be_used(tmp_path, keys, words):
    issued = Authority().issue("a.test")
    for name, octets in (("good.pem", issued.chain), ("good.key", issued.key), ("empty.pem", b"")):
        (tmp_path / name).write_bytes(octets)
    backend = {"url": "https://127.0.0.1:1"}
    services = [{"name": "s", "host": "a.test", "locations": [{"path": "/", "backends": [backend]}]}]
    own = {"listen": f"127.0.0.1:{free_port()}", "runtime_dir": str(tmp_path / "run"), "services": services}
    path = write(tmp_path / "a.yaml", **own, health_check={"type": "none"}, **keys)
    checked, started = run("--check", "--config", path), run("--config", path)
    assert (checked.returncode, started.returncode) == (2, 1)
    problem = checked.stderr.splitlines()[0]
    assert re.match(rf"{re.escape(path)}:\d+:\d+: ", problem) and words.format(tmp_path) in problem
    assert started.stderr.splitlines()[-1] == f"terraster: cannot start: {problem}"


def test_a_reload_names_the_place_of_a_file_that_cannot_be_used(tmp_path):
    (tmp_path / "empty.pem").touch()
    with Terraster(tmp_path / "one", service("https://127.0.0.1:1")) as proxy:
        proxy.write(service("https://127.0.0.1:1"), ca_file=str(tmp_path / "empty.pem"))
        (problem,) = proxy.control("POST", "/reload", why="test")["problems"]
    assert re.match(rf"{re.escape(str(tmp_path))}/one/\S+:\d+:\d+: backend https://127.0.0.1:1: .*empty.pem", problem)
