"""axe-core judges a page of Chromium: what keeps people with a keyboard, a screen reader or weak eyes from using it.

The one file comes from npm at the first use and is kept within the virtual environment. Its digest is written here.
"""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from .chromium import Page
from .program import find

__all__ = ["findings", "source"]

_VERSION = "4.14.1"
_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="  # of the package
_PACKAGE = f"axe-core@{_VERSION}"


def source() -> str:
    """The script. Fails with the reason if it cannot be had: nothing has been judged then."""
    kept = Path(sys.prefix) / "var" / "terraster-tests" / f"axe-core-{_VERSION}.js"
    if not kept.exists():
        script = _fetched()
        kept.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=kept.parent) as folder:  # another test process may do the same
            (Path(folder) / "axe.js").write_bytes(script)
            (Path(folder) / "axe.js").replace(kept)
    return kept.read_text()


def _fetched() -> bytes:
    npm = find("npm")
    assert npm is not None, (
        f"npm is not installed, so {_PACKAGE} cannot be fetched and no page was judged (on Debian: apt install npm)"
    )
    with TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", folder, _PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)
        files = list(Path(folder).glob("*.tgz"))
        assert done.returncode == 0 and files, f"{_PACKAGE} cannot be fetched, so no page was judged: {done.stderr[-500:]}"
        package = files[0].read_bytes()
    digest = base64.b64encode(hashlib.sha512(package).digest()).decode()
    assert digest == _SHA512, f"{_PACKAGE} has the digest {digest}, which is not the one in {__file__}"
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read()


_RUN = """axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations.flatMap((one) =>
  one.nodes.map((node) => `${one.id}: ${node.target.join(" ")}: ${node.failureSummary.replaceAll("\\n", " ")}`)))"""


def findings(page: Page) -> list[str]:
    """What axe finds, a line for each element."""
    if page.value("typeof axe") == "undefined":
        page.value(source())
    found = page.value(_RUN)
    assert isinstance(found, list)
    return found
