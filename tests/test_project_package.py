"""The package as others get it: bounded dependencies, one version, no trace of the machine it was written on."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import terraster

ROOT = Path(__file__).resolve().parent.parent


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def requirements() -> list[str]:
    config = setup_cfg()
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    return [line.strip() for text in texts for line in text.splitlines() if line.strip()]


def tracked() -> list[Path]:
    """Every file that git keeps."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs the git checkout")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


@pytest.mark.parametrize("line", requirements())
def test_every_dependency_has_a_lower_and_an_upper_bound(line: str) -> None:
    operators = {specifier.operator for specifier in Requirement(line).specifier}
    assert operators & {">=", "==", "~="}, f"{line}: no lower bound"
    assert operators & {"<", "<=", "==", "~="}, f"{line}: no upper bound"


def test_the_version_has_one_source() -> None:
    assert setup_cfg()["metadata"]["version"] == "attr: terraster.__version__"
    assert importlib.metadata.version("terraster") == terraster.__version__


@pytest.mark.parametrize("module", ["terraster.cli.main", "terraster.cli.ctl"])
def test_the_commands_tell_the_version(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"\b{re.escape(terraster.__version__)}\b", done.stdout)


def test_changes_start_with_this_version() -> None:
    first = re.search(r"^## (\S+?),? ", (ROOT / "CHANGES.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1].rstrip(",") == terraster.__version__


PLACES = [
    re.compile(rb"(?<![\w.*>/-])/(?:work|root)/\w"),  # where checkouts live on some machine
    re.compile(rb"/home/[a-z]\w*/"),
    re.compile(rb"/tmp/[a-z]{2}/"),
    re.compile(rb"\bfiles\.pythonhosted\.|\bregistry\.npmjs\."),
]


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__).resolve() or not path.is_file():
            continue
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            found += [f"{path.relative_to(ROOT)}:{number}: {line[:120]!r}" for place in PLACES if place.search(line)]
    assert not found, "\n".join(found)


def test_what_the_places_look_like() -> None:
    bad = [b"cd /" + b"work/main", b'"/' + b'root/x"', b"/tmp/" + b"pk/v", b"see /home/" + b"me/x"]
    good = [b"/worker", b"unix:/run/terraster/x", b"GET /api/work/list", b"/tmp/terraster-0", b"{root}/x"]
    assert all(any(place.search(line) for place in PLACES) for line in bad)
    assert not any(place.search(line) for place in PLACES for line in good)


def test_scripts_can_be_run() -> None:
    for name in (
        ".ci/bare",
        ".ci/compiled",
        ".ci/image",
        ".ci/lock",
        ".ci/newest",
        ".ci/run",
        ".ci/try-wheel",
        ".ci/wheels",
        "bin/terraster",
        "bin/terrasterctl",
    ):
        assert (ROOT / name).stat().st_mode & 0o111 == 0o111, f"{name} is not executable"


@pytest.mark.parametrize("leg", ["compiled", "newest"])
def test_every_test_that_a_leg_runs_is_there(leg: str) -> None:
    listed = re.search(r"^tests=\((.*?)^\)", (ROOT / ".ci" / leg).read_text(), re.MULTILINE | re.DOTALL)
    assert listed is not None
    words = " ".join(listed[1].split())
    done = subprocess.run(["bash", "-c", f"printf '%s\\n' {words}"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = done.stdout.split()
    assert len(files) > 10
    assert all((ROOT / name).exists() for name in files), files


def test_every_program_that_a_test_needs_is_installed_by_ci() -> None:
    listed = (ROOT / ".ci" / "missing").read_text().partition("<<PROGRAMS\n")[2].partition("\nPROGRAMS")[0]
    known = {line.split()[0] for line in listed.splitlines()}
    needed = set()
    for path in (ROOT / "tests").glob("test_*.py"):
        for arguments in re.findall(r"mark\.needs\(([^)]*)\)", path.read_text()):
            needed |= set(re.findall(r"\"([\w.-]+)\"", arguments))
    assert needed <= known, f"not in .ci/missing: {sorted(needed - known)}"


def test_everything_the_program_reads_is_in_the_package() -> None:
    """Files beside the code that are neither Python nor compiled must be named as package data, or an installed Terraster lacks them."""
    patterns = [
        (package, pattern.strip())
        for package, text in setup_cfg()["options.package_data"].items()
        for pattern in text.replace("\n", ",").split(",")
        if pattern.strip()
    ]
    for path in tracked():
        if path.is_relative_to(ROOT / "terraster") and path.suffix not in (".py", ".pyx", ".pxd", ".pyi"):
            inside = path.relative_to(ROOT / "terraster")
            assert any(inside.match(pattern) for _, pattern in patterns), f"{inside} is not in package_data"


def test_the_recipe_for_systemd_installs_what_is_locked_and_puts_both_commands_in_the_path() -> None:
    """In README and in the unit, with the same words."""
    readme = (ROOT / "README.md").read_text()
    unit = (ROOT / "systemd" / "terraster.service").read_text()
    for command in (
        "/opt/terraster/bin/pip install --require-hashes -r constraints.txt -r constraints-compile.txt",
        "/opt/terraster/bin/pip install --no-deps --no-build-isolation .",
        "ln -sf /opt/terraster/bin/terraster /opt/terraster/bin/terrasterctl /usr/local/bin/",
    ):
        assert f"\nsudo {command}\n" in readme
        assert f"\n#   {command}\n" in unit


class TestContainer:
    def test_the_image_runs_as_nobody_special(self) -> None:
        lines = (ROOT / "Dockerfile").read_text().splitlines()
        users = [number for number, line in enumerate(lines) if line.startswith("USER ")]
        entry = next(number for number, line in enumerate(lines) if line.startswith("ENTRYPOINT"))
        assert users and users[-1] < entry
        assert lines[users[-1]].split()[1] not in ("root", "0")

    def test_compose_publishes_the_three_ports_and_management_on_loopback_only(self) -> None:
        service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["terraster"]
        assert service["ports"] == ["8080:8080", "127.0.0.1:8081:8081", "127.0.0.1:9090:9090"]

    def test_compose_mounts_the_configuration_read_only_and_nothing_into_it(self) -> None:
        service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["terraster"]
        targets = {volume.split(":")[1] for volume in service["volumes"]}
        assert "./etc:/etc/terraster:ro" in service["volumes"]
        # A mount point that is not in the folder cannot be made in it, as it is read-only: the container would not start.
        assert not [target for target in targets if target.startswith("/etc/terraster/")]
        assert service["command"][-1] == "/etc/terraster/docker.yaml"
