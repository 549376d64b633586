"""The command as it is installed: the collector of garbage rests during a start, and works in processes that serve."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from ..harness.client import get
from ..harness.terraster_process import Terraster, service

ENTRY = """
import gc, sys
from terraster.cli.entry import terraster as run
import terraster.cli.main
sys.argv = ["terraster", *sys.argv[4:]]
main = terraster.cli.main.main
terraster.cli.main.main = lambda: (print("rests:", gc.get_threshold()[0] > 10_000, flush=True), main())[1]
sys.exit(run())
"""

TOLD = """
import gc

class Told:
    name = "told"

    def process_request(self, request):
        return request.answer(200, json=gc.get_threshold())
"""


def test_the_collector_rests_until_the_configuration_is_there(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "told.py").write_text(TOLD)

    class Installed(Terraster):
        launcher = (sys.executable, "-c", ENTRY)

    place = service("http://127.0.0.1:9", location={"middleware": [{"told": {}}]})
    with Installed(tmp_path / "here", place, plugin_directory=str(tmp_path / "plugins")) as served:
        assert "rests: True" in served.said
        assert json.loads(get(served.address, "/").body) == list(gc.get_threshold())
