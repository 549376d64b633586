"""Command lines are completed from the parser, in real shells."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from terraster.cli import ctl
from terraster.cli.completion import ASKED_FOR_TERRASTER, DIRECTORIES, FILES, candidates

from .harness.terraster_process import run_ctl

KNOWN = {
    "services": {"": ["blog", "shop"]},
    "backends": {"": ["http://10.0.0.1:80", "http://10.0.0.2:80"], "shop": ["http://10.0.0.1:80"]},
    "users": {"": ["ann"]},
}


def words(line: str) -> list[str]:
    """The candidates for the last word of a line."""
    return [word for word, _ in candidates(ctl._parser(), line.split(" "), lambda kind, service: KNOWN[kind].get(service, []))]


@pytest.mark.parametrize(
    ("line", "among", "not_among"),
    [
        ("", ["status", "reload", "completion"], ["--json", "words"]),
        ("--json ", ["status"], []),
        ("--timeout 5 ", ["status"], ["5"]),
        ("-", ["--json", "--config", "--url"], ["-json", "status"]),
        ("backend ", ["drain", "list"], ["status"]),
        ("backend drain ", ["shop", "blog"], ["http://10.0.0.1:80"]),
        ("backend drain shop ", ["http://10.0.0.1:80"], ["http://10.0.0.2:80", "shop"]),
        ("backend drain shop --reason disk ", ["http://10.0.0.1:80"], ["shop"]),
        ("backend add --", ["--dry-run", "--weight", "--json"], ["--now"]),
        ("maintenance ", ["on", "off"], []),
        ("maintenance on ", ["shop"], []),
        ("events --kind ", ["backend", "reload"], [""]),
        ("user ", ["add", "reset-password"], []),
        ("user disable ", ["ann"], []),
        ("user add ann --role ", ["admin", "reader"], []),
        ("edits ", ["drop", "adopt"], []),
        ("completion ", ["bash", "zsh", "fish"], ["words"]),
    ],
)
def test_what_may_come_next(line: str, among: list[str], not_among: list[str]) -> None:
    found = words(line)
    assert set(among) <= set(found) and not set(not_among) & set(found), found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("--config ", [FILES]),
        ("--runtime-dir ", [DIRECTORIES]),
        ("--timeout ", []),
        ("backend drain shop http://10.0.0.1:80 ", []),
        ("generations ", []),
        ("nonsense ", []),
    ],
)
def test_what_the_shell_completes_or_nothing(line: str, found: list[str]) -> None:
    assert words(line) == found


@pytest.mark.parametrize("line", ["backend drain ", "backend drain shop ", "user disable "])
def test_names_that_a_shell_would_run_are_left_out(line: str) -> None:
    plain = ["shop", "bücher", "http://10.0.0.1:80", "http://[::1]:80", "http+unix:///run/a.sock", "a.b_c-d"]
    harmful = [
        "$(reboot)",
        "a;reboot",
        "`reboot`",
        "a|b",
        "a&b",
        "a>b",
        "-rf",
        "~root",
        "a b",
        "a\tb",
        "a\nb",
        "a'b",
        'a"b',
        "a\\b",
        "a\x1b[2J",
        "*",
        "",
    ]
    found = candidates(ctl._parser(), line.split(" "), lambda kind, service: plain + harmful)
    assert [word for word, _ in found] == plain


def test_each_candidate_is_on_a_line_of_its_own() -> None:
    def names(kind: str, service: str) -> list[str]:
        return []

    for line in ("", "backend ", "-", "user add -", "events --kind "):
        for word, text in candidates(ctl._parser(), line.split(" "), names):
            assert word and not set("\t\n ") & set(word) and not set("\t\n") & set(text)


@pytest.mark.parametrize(
    "shell",
    ["bash", pytest.param("zsh", marks=pytest.mark.needs("zsh")), pytest.param("fish", marks=pytest.mark.needs("fish"))],
)
def test_the_scripts_are_right_for_their_shells(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(run_ctl("completion", shell).stdout)
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, ""), done


@pytest.mark.parametrize(
    ("words", "among", "not_among"),
    [
        ([""], ["bench\t", "plugin\t"], ["--config\t"]),
        (["--"], ["--config\t", "--demo\t"], ["bench\t"]),
        (["bench", "--"], ["--rate\t", "--connections\t"], ["--config\t"]),
        (["bench", "--plot", ""], [FILES], []),
        (["bench", "--arrivals", ""], ["random"], []),
        (["plugin", ""], ["new\t", "test\t"], ["bench\t"]),
    ],
)
def test_words_of_terraster(words: list[str], among: list[str], not_among: list[str], capsys) -> None:
    assert ctl.main([*ASKED_FOR_TERRASTER, *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    for start in among:
        assert any(line.startswith(start) for line in lines), lines
    assert not any(line.startswith(start) for line in lines for start in not_among)


@pytest.mark.parametrize(
    ("line", "word"), [("terraster be", "for_terraster"), ("/usr/bin/terraster x", "for_terraster"), ("terrasterctl b", "for_ctl")]
)
def test_bash_asks_for_the_command_that_is_typed(line: str, word: str) -> None:
    stub = "terrasterctl() { [[ $2 == terraster ]] && echo for_terraster || echo for_ctl; }"
    ask = f'COMP_LINE={line!r} COMP_POINT={line.rindex(" ") + 1} _terrasterctl; echo "${{COMPREPLY[@]}}"; complete -p terraster'
    script = run_ctl("completion", "bash").stdout
    done = subprocess.run(["bash", "--norc", "-c", "\n".join([script, stub, ask])], capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines() == [word, "complete -F _terrasterctl terraster"], done
