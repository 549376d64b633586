"""The application that gunicorn's Arbiter asks for its configuration."""

from __future__ import annotations

import os

from gunicorn.config import Config

from terraster.config.snapshot import Snapshot
from terraster.logs.program import ProgramLog
from terraster.worker.process import Process

__all__ = ["Application"]


class Application:
    """``cfg``: gunicorn's configuration, as far as the master and its children use it. worker: the class of any child"""

    def __init__(self, snapshot: Snapshot, worker: type[Process]) -> None:
        self.cfg = Config()
        for key, value in {
            "workers": snapshot.workers,
            "worker_class": worker,
            "control_socket_disable": True,  # it would start a thread
            "logger_class": ProgramLog,
            "pidfile": os.path.join(snapshot.runtime_dir, "terraster.pid"),
            "proc_name": "terraster",
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
        }.items():
            self.cfg.set(key, value)
