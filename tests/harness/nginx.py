"""nginx as a backend, and as the proxy that shows a test's own expectations to be fair."""

from __future__ import annotations

from pathlib import Path

from .ports import free_port
from .program import Program, accepts, find

__all__ = ["Nginx"]

_FRAME = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    client_max_body_size 0; keepalive_timeout 300s; keepalive_requests 100000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder}/files;
        {locations}
    }}
}}
"""

BACKEND = """
        location = /health { return 200 "ok"; }
        location = /hello { return 200 "hello"; }
"""

PROXY = """
        location / {{
            proxy_pass {url}; proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;
            proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
            proxy_read_timeout 300s; proxy_send_timeout 300s;
        }}
"""


class Nginx:
    """An nginx with one server. ``locations``: what stands in its server block; files go into `files`."""

    def __init__(self, folder: Path, locations: str = BACKEND, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.files = folder / "files"
        self.files.mkdir(exist_ok=True)
        self.port = port or free_port()
        self.address = ("127.0.0.1", self.port)
        self.url = f"http://127.0.0.1:{self.port}"
        user = "user root;" if folder.owner() == "root" else ""
        config = folder / "nginx.conf"
        config.write_text(_FRAME.format(folder=folder, port=self.port, locations=locations, user=user))
        nginx = find("nginx")
        assert nginx is not None
        self.program = Program([nginx, "-e", str(folder / "error.log"), "-c", str(config)], folder / "output")
        self.program.wait_ready(lambda: accepts(self.address))

    def __enter__(self) -> Nginx:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.stop()
