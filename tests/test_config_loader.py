"""What is wrong with a configuration, in exact words and places; and what a good one says."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from textwrap import dedent
from threading import Event, Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terraster.config import header_rules
from terraster.config.resolve import resolve
from terraster.config.settings import Settings
from terraster.config.snapshot import Alerting, Auth, Breaker, ConnectionPool, Outlier, Retry, Tls
from terraster.errors import ConfigError
from terraster.policy.forwarded import Trust
from tests.harness.configuration import Loader, load

DATA = Path(__file__).parent / "data"
GOOD = "backends: [{url: 'http://10.0.0.1:9001'}]\n"


def problems(directory: Path, text: str, **more: object) -> list[str]:
    """The problems of a file, as "LINE:COL: words" (just words if they are about the whole file)."""
    file = directory / "t.yaml"
    file.write_text(dedent(text))
    try:
        load(str(file), **more)  # type: ignore[arg-type]
    except ConfigError as error:
        return [re.sub(rf"^{re.escape(str(file))}:\s?", "", str(problem)) for problem in error.problems]
    return []


def warnings(directory: Path, text: str, **more: object) -> list[str]:
    file = directory / "t.yaml"
    file.write_text(dedent(text))
    return [line.removeprefix(f"{file}:") for line in load(str(file), **more).warnings]  # type: ignore[arg-type]


SERVICE = """\
services:
  - name: a
    host: a.example.com
    locations:
      - path: /
        backends:
          - url: http://10.0.0.1:9001
"""

BAD = [
    ("", ["neither `services` nor `backends`: there is nothing to serve"]),
    ("- a\n", ["1:1: a configuration must be a mapping of keys, like `port: 8080`"]),
    ("a: b: c\n", ["1:5: not valid YAML: mapping values are not allowed in this context"]),
    ("port: 8080\n---\nport: 8081\n", ["2:1: not valid YAML: but found another document"]),
    (GOOD + "prot: 1\n", ["2:1: unknown key `prot`; did you mean `port`?"]),
    (GOOD + "lb_policy: adaptive\n", ["2:1: unknown key `lb_policy`; `lb_policy` belongs in `services[].locations[]`"]),
    (SERVICE + "    algorithm: first\n", [
        "8:5: unknown key `algorithm`; `algorithm` belongs at the top; in `locations[]` it is `lb_policy`",
    ]),
    (SERVICE + "        algorithm: first\n", ["8:9: unknown key `algorithm`; did you mean `lb_policy`?"]),
    (SERVICE + "        max_connections: 9\n", ["8:9: unknown key `max_connections`; `max_connections` belongs in `backends[]`"]),
    (SERVICE + "        log_name: x\n", ["8:9: unknown key `log_name`; `log_name` belongs in `services[]`"]),
    (SERVICE + "        host: b.example.com\n", ["8:9: unknown key `host`; `host` belongs in `services[]` or at the top"]),
    (SERVICE + "        sticky: {retry: 5}\n", [
        "8:18: unknown key `retry`; `retry` belongs in `services[].locations[]`, in `services[]` or at the top"
    ]),
    (SERVICE + "            path: /x\n", ["8:13: unknown key `path`; `path` belongs in `services[].locations[]`"]),
    (SERVICE + "    backends: [http://h]\n", ["8:5: unknown key `backends`; `backends` belongs in `services[].locations[]`"]),
    (GOOD + "redirect_port: 1\n", ["2:1: unknown key `redirect_port`; `redirect_port` belongs in `services[]`"]),
    (GOOD + "health_check: {threshold: 2}\n", ["2:16: unknown key `threshold`; did you mean `thresholds`?"]),
    (GOOD + "retry: {body_sise: 5, connections: 3}\n", [
        "2:9: unknown key `body_sise`; did you mean `body_size`?",
        "2:23: unknown key `connections`; `connections` belongs in `limits`",
    ]),
    ("services:\n\t- name: a\n", ["2:1: not valid YAML: a tab cannot indent a line, use spaces"]),
    ("services:\n  - name: a\n  \thost: b\n", ["3:3: not valid YAML: a tab cannot indent a line, use spaces"]),
    ("retry:\n  on: 503\n \tbudget: 5%\n", ["3:2: not valid YAML: a tab cannot indent a line, use spaces"]),
    ("access_log: {path: ${LOG}, format: json}\n", [
        "1:21: not valid YAML: did not find expected ',' or '}'; within { } and [ ] a variable needs quotes: \"${NAME}\""
    ]),
    ("listen: [\"1.2.3.4:80\", ${LISTEN:-x}]\n", [
        "1:25: not valid YAML: did not find expected ',' or ']'; within { } and [ ] a variable needs quotes: \"${NAME}\""
    ]),
    ("host: *.example.com\n", [
        "1:8: not valid YAML: did not find expected alphabetic or numeric character; "
        'a value that begins with * needs quotes: "*.example.com"'
    ]),
    ("host: [a, *]\n", [
        "1:12: not valid YAML: did not find expected alphabetic or numeric character; "
        'a value that begins with * needs quotes: "*.example.com"'
    ]),
    ("host: @a\n", ["1:7: not valid YAML: a value cannot begin with @ unless it is in quotes"]),
    ("backends: [http://h:1, http://h:1/]\n", ["1:24: backend http://h:1 is defined twice in its location"]),
    ("backends: [http://h:1, 'http://u@h', '', {url: h}]\n", [
        "1:24: `url` must not contain a user name or password",
        "1:38: `url` must be a URL like http://10.0.0.1:8080, not ''",
        "1:48: `url` must be a URL like http://10.0.0.1:8080, not 'h'",
    ]),
    (SERVICE + "    circuit_breaker: on\n", [
        "8:5: unknown key `circuit_breaker`; did you mean `middleware: [{circuit_breaker: …}]`?",
    ]),
    (SERVICE + "        circuit_breaker: on\n", [
        "8:9: unknown key `circuit_breaker`; did you mean `middleware: [{circuit_breaker: …}]`?",
    ]),
    (SERVICE + "            slow_start: 9s\n", [
        "8:13: unknown key `slow_start`; `slow_start` belongs in `services[].locations[]`, in `services[]` or at the top",
    ]),
    (GOOD + "zzz: 1\n", ["2:1: unknown key `zzz`"]),
    (GOOD + "port: 80\nport: 81\n", ["3:1: `port` is defined twice, first in line 2"]),
    (GOOD + "port:\n", ["2:6: `port` has no value"]),
    (GOOD + "tls:\n", ["2:5: `tls` has no value"]),
    (GOOD + "port: eighty\n", ["2:7: `port` must be a whole number"]),
    (GOOD + "port: true\n", ["2:7: `port` must be a whole number"]),
    (GOOD + "port: 0\n", ["2:7: `port` must be at least 1"]),
    (GOOD + "port: 65536\n", ["2:7: `port` must be at most 65535"]),
    (GOOD + "panic_threshold: 50\n", ["2:18: `panic_threshold` must be a share: write 50% or 0.5"]),
    (GOOD + "outlier: {max_ejected: 50, ratio: x, failures: -1, window: 2h, statuses: 99}\n", [
        "2:24: `max_ejected` must be a share: write 50% or 0.5",
        "2:35: `ratio` must be a share like \"50%\" or 0.5",
        "2:48: `failures` must be at least 0",
        "2:60: `window` must be at most 3600",
        "2:74: `statuses` must be a status, a range like \"200-399\", or a list of them",
    ]),
    (GOOD + "outlier: 5\n", ["2:10: `outlier` must be `on`, `off` or a mapping"]),
    (GOOD + "outlier: {failues: 5}\n", ["2:11: unknown key `failues`; did you mean `failures`?"]),
    (GOOD + "retry: on\n", ["2:8: `retry` must be `off` or a mapping"]),
    (GOOD + "retry: {attempts: 0, on: 5, budget: 20, hedge: 20, backoff: 2m}\n", [
        "2:19: `attempts` must be at least 1",
        "2:26: `on` must be a status, a range like \"200-399\", or a list of them",
        "2:37: `budget` must be a share: write 20% or 0.2",
        "2:48: `hedge` must be a percentile from 50 to 99.9, like 95 or \"95%\", or `off`",
        "2:61: `backoff` must be at most 60",
    ]),
    (GOOD + "queue: {size: -1, timeout: 0}\n", ["2:15: `size` must be at least 0", "2:28: `timeout` must be more than 0"]),
    (GOOD + "hash_on: headers:x\n", ["2:10: `hash_on` is not a valid selector: 'headers:x'; did you mean `header:NAME`?"]),
    (GOOD + "hash_balance_factor: 0.5\n", [
        "2:22: `hash_balance_factor` must be `off` or a number from 1 to 100, like 1.25 (a quarter more than the fair share)"
    ]),
    (GOOD + "sticky: {name: 'a b', path: x, domain: 'a;b', secure: maybe, same_site: some, secret: short}\n", [
        "2:16: `name` must be a name of letters, digits and !#$%&'*+-.^_`|~, not 'a b'",
        "2:29: `path` must start with \"/\" and contain no semicolon",
        "2:40: `domain` must be a domain like example.com, not 'a;b'",
        "2:55: `secure` must be `auto`, `true` or `false`",
        "2:73: `same_site` must be `lax`, `strict`, `none` or `off`",
        "2:87: `secret` must have 16 characters or more",
    ]),
    (GOOD + "sticky: {algorithm: sticky-session}\n", [
        "2:21: `algorithm` must be another algorithm than sticky-session: it chooses the backend of a new session"
    ]),
    (GOOD + "sticky: {name: __Host-x, domain: example.com}\n", [
        "2:9: `sticky` has a `name` that begins with __Host-, which requires the `path` / and no `domain`"
    ]),
    (GOOD + "circuit_breaker: {threshold: 5, failure_threshold: 6}\n", [
        "2:18: `circuit_breaker` has both `threshold` and `failure_threshold`, which mean the same: keep one"
    ]),
    (GOOD + "nameservers: ns.example.com\n", [
        "2:14: `nameservers` must be an address like \"10.0.0.2\", \"10.0.0.2:5353\" or \"[::1]:53\", not 'ns.example.com'"
    ]),
    (GOOD + "nameservers: [10.0.0.2, '10.0.0.2:53']\n", ["2:14: `nameservers` contains an address twice"]),
    ("backends: [{url: 'srv+http://h:80'}, {url: 'srv+http://h'}, {url: 'srv+http://h/'}, {url: 'http://h:80'}]\n", [
        "1:18: `url` must have a name without a port after srv+: the SRV records say which hosts and ports",
    ]),
    (GOOD + "workers: 1.5\n", ["2:10: `workers` must be a whole number"]),
    (GOOD + "port: [80]\n", ["2:7: `port` must be a whole number"]),
    (GOOD + "host: 8\n", ['2:7: `host` must be a host name, "*.example.com" or "*", not a number']),
    (GOOD + "host: null\n", ["2:7: `host` has no value"]),
    (GOOD + "access_log: ~\n", ["2:13: `access_log` has no value"]),
    (GOOD + "access_log: on\n", ["2:13: `access_log` must be `stdout`, `stderr`, `off`, a file or a mapping"]),
    (GOOD + "health_check: on\n", ["2:15: `health_check` must be `off` or a mapping"]),
    (GOOD + "metrics: yes\n", ["2:10: `metrics` must be `off` or a mapping"]),
    (GOOD + "log_level: loud\n", ["2:12: `log_level` must be `debug`, `info`, `warning` or `error`"]),
    (GOOD + "algorithm: round_robn\n", ["2:12: `algorithm` names an unknown algorithm 'round_robn'; did you mean `round-robin`?"]),
    (
        GOOD + "algorithm: x\n",
        [
            "2:12: `algorithm` names an unknown algorithm 'x'; known are round-robin, weighted-round-robin, least-connections, "
            "weighted-least-connections, response-time, least-response-time, ip-hash, consistent-hash, adaptive, sticky-session, "
            "random-two, first"
        ],
    ),
    (GOOD + "trusted_proxies: [10.0.0.0/33]\n", [
        "2:18: `trusted_proxies` must be an address or a network like 10.0.0.0/8, not '10.0.0.0/33'"
    ]),
    (GOOD + "listen: '1.2.3:80'\n", ["2:9: `listen` must start with an IP address, not '1.2.3'"]),
    (GOOD + "listen: '::1:80'\n", ["2:9: `listen` must start with an IP address, not '::1'; an IPv6 address goes in brackets"]),
    (GOOD + "listen: '127.0.0.1'\n", ["2:9: `listen` must be an address with a port, like \"127.0.0.1:8080\", not '127.0.0.1'"]),
    (GOOD + "listen: 'unix:x'\n", ["2:9: `listen` must name a unix socket by an absolute path of at most 107 octets: unix:/path"]),
    (GOOD + "listen: [':80', '1.1.1.1:80']\n", ["2:9: `listen` names :80 and 1.1.1.1:80, which overlap"]),
    (GOOD + "limits: {body_size: 10Q}\n", ["2:21: `body_size` must be a size like 8192, 64k or 10M"]),
    (GOOD + "timeouts: {read: soon, connect: -1}\n", [
        "2:18: `read` must be a duration like 90s, 5m or 1h30m",
        "2:33: `connect` must be a duration between 0 and 100 years",
    ]),
    (GOOD + "health_check: {type: htp, status: 99}\n", [
        "2:22: `type` must be `http`, `tcp`, `grpc` or `none`",
        '2:35: `status` must be a status, a range like "200-399", or a list of them',
    ]),
    (GOOD + "health_check: {interval: 0}\n", ["2:26: `interval` must be more than 0"]),
    (GOOD + "health_check: {method: get}\n", [
        "2:24: `method` must be a method in capitals, such as GET, HEAD or POST, and not CONNECT, not 'get'"
    ]),
    (GOOD + "health_check: {method: CONNECT}\n", [
        "2:24: `method` must be a method in capitals, such as GET, HEAD or POST, and not CONNECT, not 'CONNECT'"
    ]),
    (GOOD + "health_check: {request_body: hi}\n", [
        "2:15: `health_check` `request_body` needs `method` beside it: a GET has no body unless you say so"
    ]),
    (GOOD + "health_check: {method: HEAD, body: hi}\n", [
        "2:15: `health_check` `body` looks for a text, and the answer to `method: HEAD` has none"
    ]),
    (GOOD + "health_check: {port: 65536}\n", ["2:22: `port` must be at most 65535"]),
    (GOOD + "health_check: {headers: {Content-Length: 3}}\n", [
        "2:26: `Content-Length` cannot be changed by rules: it belongs to one connection, or frames the message"
    ]),
    (GOOD + "health_check: {headers: {X-A: 1, x-a: 2}}\n", ["2:25: `headers` names x-a twice"]),
    (GOOD + "health_check: {headers: {X-A: \"a\\nb\"}}\n", ["2:31: `X-A` must not contain control characters"]),
    (GOOD + "access_log: {path: on}\n", ["2:20: `path` must be `stdout`, `stderr`, `off` or a file"]),
    (GOOD + "access_log: {path: off, formt: json}\n", ["2:25: unknown key `formt`; did you mean `format`?"]),
    (GOOD + "access_log: {format: '{client} {staus}'}\n", ["2:22: `format` has the unknown field 'staus'; did you mean `status`?"]),
    (GOOD + "access_log: {format: combind}\n", ["2:22: `format` has no {field}; did you mean `combined`?"]),
    (GOOD + "access_log: {format: '{status!r}'}\n", [
        "2:22: `format` holds {status} with a conversion, which fields do not have"
    ]),
    (GOOD + "access_log: {format: '{status'}\n", ["2:22: `format` is not a valid format: expected '}' before end of string"]),
    (GOOD + "access_log: {format: 'é {status}'}\n", ["2:22: `format` may contain only printable ASCII between the fields"]),
    (SERVICE + "    access_log: {fields: [status, clint]}\nwrokers: 2\n", [
        "8:35: `fields[1]` has the unknown field 'clint'; did you mean `client`?",
        "9:1: unknown key `wrokers`; did you mean `workers`?",
    ]),
    (SERVICE + "    access_log: /nowhere/a.log\n", [
        "8:17: the access log /nowhere/a.log cannot be created: there is no directory /nowhere"
    ]),
    (SERVICE + "    access_log: {path: /dev, format: common}\n", ["8:24: the access log /dev cannot be written to"]),
    (GOOD + "circuit_breaker: {threshold: 1, failure_threshold: 2}\n", [
        "2:18: `circuit_breaker` has both `threshold` and `failure_threshold`, which mean the same: keep one"
    ]),
    (GOOD + "middleware: [{}]\n", ["2:14: `middleware[0]` must name a kind of middleware"]),
    (GOOD + "api: {host: 0.0.0.0}\n", [
        "2:13: the management API would be reachable at 0.0.0.0:8081 without TLS: add `tls`, or set `insecure: true`"
    ]),
    (GOOD + "api: {}\nadmin_api: {}\n", ["3:1: `admin_api` and `api` mean the same: keep one"]),
    (GOOD + "metrics: {listen: '127.0.0.1:8081'}\n", [
        "2:19: `listen` 127.0.0.1:8081 is the address of the management API, which serves /metrics anyway: set `off`"
    ]),
    (GOOD + "port: 8081\n", [
        "1:11: service `default` listens on :8081, which is the address of the management API (127.0.0.1:8081)"
    ]),
    ("backends: [{url: 'ftp://x'}, {weight: 1}, {url: 'http://h?x'}]\n", [
        "1:18: `url` must start with http:// or https://, not ftp://",
        "1:30: `url` is missing",
        "1:49: `url` must not contain a query or a fragment",
    ]),
    ("backends: [{url: 'http://u:p@h'}, {url: 'http://'}, {url: h}, {url: 'http://h:99999'}]\n", [
        "1:18: `url` must not contain a user name or password",
        "1:41: `url` has no host",
        "1:59: `url` must be a URL like http://10.0.0.1:8080, not 'h'",
        "1:69: `url` has a port that is not a number from 1 to 65535: '99999'",
    ]),
    ("backends: [{url: 'http://h:1', name: a}, {url: 'http://h:2', name: A}, {url: 'http://i', name: a}]\n", [
        "1:96: `name` a is already used by another backend of this location"
    ]),
    ("backends: [{url: 'http://10.0.0.1', name: 10.0.0.2}, {url: 'http://10.0.0.2', name: 10.0.0.2.}]\n", [
        "1:43: `name` 10.0.0.2 is the host of another backend of this location"
    ]),
    ("backends: [{url: 'http://h', send_proxy: v3}, {url: 'http://i', send_proxy: true}]\n", [
        "1:42: `send_proxy` must be `v1`, `v2` or `off`",
        "1:77: `send_proxy` must be `v1`, `v2` or `off`",
    ]),
    ("backends: [{url: 'http://h', name: a/b}]\n", [
        "1:36: `name` must be 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit, not 'a/b'"
    ]),
    ("backends: ['unix:/run/a', 'http+unix://%2Frun%2Fa/']\n", ["1:27: backend unix:/run/a is defined twice in its location"]),
    ("backends: ['unix:/run/a', 'http+unix://%2Frun%2Fa/b', 'http://localhost']\nport: x\n", ["2:7: `port` must be a whole number"]),
    ("backends: [{url: 'http://h:80/a/'}, {url: 'HTTP://H/a'}]\n", ["1:43: backend http://h/a is defined twice in its location"]),
    (SERVICE + "  - name: a\n    http_redirect: true\n    port: 80\n", ["8:11: `name` a is already used by another service"]),
    (SERVICE + "  - name: b\n    host: A.example.com.\n    http_redirect: true\n", [
        "9:11: `host` a.example.com on :8080 is already used by service `a`"
    ]),
    (SERVICE + "  - name: b\n    listen: '127.0.0.1:8080'\n    http_redirect: true\n", [
        "9:13: service `b` listens on 127.0.0.1:8080, which overlaps with :8080 of service `a`"
    ]),
    (SERVICE + "  - name: b\n    tls: {}\n    port: 8080\n    http_redirect: true\n", [
        "9:10: service `b` wants TLS on :8080, where service `a` speaks plain HTTP"
    ]),
    (SERVICE + "  - name: b\n    proxy_protocol: true\n    http_redirect: true\n", [
        "9:21: `proxy_protocol` on :8080 is not what service `a` says"
    ]),
    (SERVICE + "  - {}\n", ["8:5: `services[1]` needs a `name` or a `host`"]),
    (SERVICE + "  - name: b\n", ["8:5: service `b` has no `locations` and no `http_redirect`: it cannot answer requests"]),
    (SERVICE + "  - name: b c\n    http_redirect: true\n", ['8:11: `name` must be one word without "/"']),
    (SERVICE + "      - path: /x\n", ["8:9: location /x has neither `backends` nor `redirect`: it cannot answer requests"]),
    (SERVICE + "      - path: x\n        redirect: /\n", ["8:15: `path` must start with \"/\", not 'x'"]),
    (SERVICE + "      - path: /%2e\n        redirect: https://h/\n", ["8:15: `path` /%2e is defined twice in service `a`"]),
    (SERVICE + "      - path: /x/\n        redirect: /x\n", ["9:19: `redirect` /x leads back to its own location"]),
    (SERVICE + "      - path: /x\n        redirect: /x/y\n", ["9:19: `redirect` /x/y leads back to its own location"]),
    (SERVICE + "      - path: /x\n        redirect: /y?z\n", []),
    (SERVICE + "      - path: /x\n        redirect: /%zz\n", [
        "9:19: `redirect` contains characters that must be percent-encoded in a path"
    ]),
    (SERVICE + "        redirect: /\n", ["8:19: `redirect` / leads back to its own location"]),
    (SERVICE + "        redirect: /?a\n", ["8:19: `redirect` /?a must be a plain path, as the location has backends"]),
    (SERVICE.replace("path: /", "path: /api/") + "        redirect: /api\n", []),
    (SERVICE + "      - path: /x/\n        redirect: x\n", [
        "9:19: `redirect` must be a path that starts with \"/\" or an http(s) URL, not 'x'"
    ]),
    (SERVICE + "    tls: {cert_file: /nowhere/c.pem}\n", [
        "8:22: the certificate file /nowhere/c.pem cannot be read: No such file or directory"
    ]),
    (SERVICE + "    tls: {enabled: false, cert_file: /nowhere/c.pem}\n", []),
    (SERVICE + "    headers: {request_headers: {'a b': c, d: '${nobody}'}}\n", [
        "8:33: `a b` is not a valid name of a header field",
        "8:46: the environment variable `nobody` is not set; variables of a request are "
        + " ".join(f"${{{name}}}" for name in (*header_rules.VARIABLES, "header.NAME")),
    ]),
    (SERVICE + "    headers: {request_headers: {Content-Length: 1}, remove_response_headers: [Server, Upgrade, host]}\n", [
        "8:33: `Content-Length` cannot be changed by rules: it belongs to one connection, or frames the message",
        "8:87: `remove_response_headers[1]` cannot be changed by rules: it belongs to one connection, or frames the message",
        "8:96: `remove_response_headers[2]` must not be Host: every request needs one",
    ]),
    (SERVICE + "    headers: {response_headers: {a: '$${nobody}', b: \"x\\e[0m\"}}\n", [
        "8:54: `b` must not contain control characters",
    ]),
    (SERVICE + "    headers: {request_headers: {a: [b], c: {}, d: }}\n", [
        "8:36: `a` must be text",
        "8:44: `c` must be text",
        "8:51: `d` has no value",
    ]),
    (SERVICE + "    workers: 2\n", ["8:5: unknown key `workers`; `workers` belongs at the top"]),
    ("services: {}\n", ["1:11: `services` must be a list"]),
    ("services:\n", ["1:10: `services` has no value"]),
    (GOOD + "port: ${PORT_THAT_IS_NOT_SET}\n", ["2:7: the environment variable `PORT_THAT_IS_NOT_SET` is not set"]),
    (GOOD + "runtime_dir: ${1}\n", ["2:14: `${1}` is not a valid variable: write ${NAME} or ${NAME:-default}, or $$ for a literal $"]),
    (GOOD + "auth: {jwt_secret: 'file:/no/secret'}\n", ["2:20: `jwt_secret` names a file that cannot be read: /no/secret"]),
    (GOOD + "port: !!int 80\n", ["2:7: tags are not supported: put a text that begins with ! into quotes"]),
    (GOOD + "auth:\n  jwt_secret: !S3cret\n", ["3:15: tags are not supported: put a text that begins with ! into quotes"]),
    (GOOD + "auth: !S3cret {}\n", ["2:7: tags are not supported: put a text that begins with ! into quotes"]),
    (GOOD + "host: &a [*a]\n", ["2:7: this alias contains itself"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_problems(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert problems(tmp_path, text) == expected


def test_all_problems_of_a_file_at_once(tmp_path: Path) -> None:
    text = """\
        prot: 1
        services:
          # the first
          - name: a
            hots: a.example.com
            locations:
              - path: /
                backends:
                  - url: http://10.0.0.1
                  - url: http://10.0.0.1:80/

          - name: a
            port: x
            http_redirect: true
        workers: 0
        """
    assert problems(tmp_path, text) == [
        "1:1: unknown key `prot`; did you mean `port`?",
        "5:5: unknown key `hots`; did you mean `host`?",
        "10:18: backend http://10.0.0.1:80 is defined twice in its location",
        "12:11: `name` a is already used by another service",
        "13:11: `port` must be a whole number",
        "15:10: `workers` must be at least 1",
    ]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / "none.yaml"), services_dir=str(tmp_path / "nowhere"), api_config=str(tmp_path))
    assert [str(problem) for problem in caught.value.problems] == [
        f"{tmp_path}/none.yaml: cannot be read: No such file or directory",
        f"{tmp_path}/nowhere: is not a directory",
        f"{tmp_path}: cannot be read: Is a directory",
    ]
    (tmp_path / "latin.yaml").write_bytes(b"port: 80\nhost: caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / "latin.yaml"))
    assert str(caught.value).splitlines()[0] == f"{tmp_path}/latin.yaml:2:10: is not UTF-8 text"


@pytest.mark.parametrize("depth", [50, 300, 1500, 3000, 200_000])
def test_deep_nesting_is_a_problem_not_a_crash(tmp_path: Path, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    found = problems(tmp_path, f"port: {deep}\n")
    assert found[-1:] == ["1:7: `port` must be a whole number" if depth == 50 else "1:106: is nested more than 100 levels deep"]
    found = problems(tmp_path, f"# {deep}\nport: 80\nhost: [a, {{b: {deep}}}]\n")
    words = '`host` must be a host name, "*.example.com" or "*"' if depth == 50 else "is nested more than 100 levels deep"
    assert any(problem.endswith(words) for problem in found)


@pytest.mark.parametrize("depth", [50, 300, 1500])
def test_deep_nesting_by_indentation_is_a_problem(tmp_path: Path, depth: int) -> None:
    found = problems(tmp_path, "\n".join(" " * level + "port:" for level in range(depth)) + " 1\n")
    assert found[-1:] == ["2:2: `port` must be a whole number" if depth == 50 else "101:101: is nested more than 100 levels deep"]


def test_brackets_that_nest_nothing_are_not_taken_for_depth(tmp_path: Path) -> None:
    assert problems(tmp_path, f'port: ["{"[" * 3000}", [}}]\n') == ["1:3013: not valid YAML: did not find expected node content"]


@pytest.mark.parametrize("name", ["quickstart", "later-services", "later-middleware-tls", "later-api.config"])
def test_seed_files_complain_of_nothing_but_certificates(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(str(DATA / f"{name}.yaml"))
    for problem in caught.value.problems:
        assert re.match(r"the (certificate|key) file .* cannot be read: No such file", problem.message) or (
            name == "later-api.config" and "nothing to serve" in problem.message
        )


def with_certificates(directory: Path, name: str) -> str:
    """A seed file as it would be on the machine that has its certificates."""
    text = (DATA / name).read_text()
    (directory / "made.pem").touch()
    file = directory / name
    file.write_text(re.sub(r'(cert_file|key_file): ".*"', rf'\1: "{directory}/made.pem"', text))
    return str(file)


def test_basic(tmp_path: Path) -> None:
    settings = load(str(DATA / "basic.yaml"))
    snapshot = resolve(settings, 1)
    assert [backend.url for backend in snapshot.services[0].locations[0].backends] == [
        "http://localhost:8081",
        "http://localhost:8082",
    ]
    assert [line.partition("basic.yaml:")[2] for line in settings.warnings] == [
        "4:10: backend http://localhost:8081 is an address of Terraster itself: a loop"
    ]


def test_a_socket_that_is_both_a_listener_and_a_backend_is_a_loop(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(
        "listen: ['unix:/run/t.sock', ':80']\nhealth_check: {path: /}\nbackends: ['unix:/run/t.sock', 'unix:/run/app.sock', 'http://10.0.0.1']\n"
    )
    assert load(str(file)).warnings == (f"{file}:3:12: backend unix:/run/t.sock is an address of Terraster itself: a loop",)


@pytest.mark.parametrize(
    ("top", "service", "expected"),
    [
        ("", "tls: {cert_file: c.pem, next_protos: [h2, http/1.1]}", []),
        ("", "tls: {cert_file: c.pem, next_protos: [smtp]}", ["3:42: `next_protos`: Terraster does not speak smtp"]),
        ("", "tls: {cert_file: c.pem, next_protos: [http/1.1]}", []),
        ("tls: {cert_file: c.pem, next_protos: [h3]}", "port: 443", ["1:39: `next_protos`: Terraster does not speak h3"]),
        ("tls: {cert_file: c.pem, next_protos: [h3]}", "tls: off", []),
        ("", "tls: {enabled: false, cert_file: c.pem, next_protos: [h3]}", []),
    ],
)
def test_protocols_that_are_not_there_are_warned_of(tmp_path: Path, top: str, service: str, expected: list[str]) -> None:
    """Each once, at its first place, and only where clients speak TLS."""
    (tmp_path / "c.pem").touch()
    backends = "locations: [{path: /, backends: [http://10.0.0.1]}]"
    services = (
        f"services:\n- {{{service}, name: a, host: a.test, {backends}}}\n- {{{service}, name: b, host: b.test, {backends}}}\n"
    )
    found = warnings(tmp_path, f"{top or '# no key'}\n{services}")
    assert len(found) == len(expected), found
    assert all(words in line for words, line in zip(expected, found, strict=True)), found


def test_advanced_with_the_backends_of_basic(tmp_path: Path) -> None:
    basic = (DATA / "basic.yaml").read_text()
    text = (DATA / "advanced.yaml").read_text() + basic[basic.index("backends:") :].replace("8081", "8083")
    assert warnings(tmp_path, text) == [
        "9:14: `auto_cert` of service `default`: the authority will ask on port 80 (http-01), and no plain listener is there: "
        "add `http_port: 80` and `http_redirect: true`, or `acme.challenge: dns-01`",
    ]
    snapshot = resolve(load(str(tmp_path / "t.yaml")), 1)
    assert [(listener.address, listener.tls) for listener in snapshot.listeners] == [(":8080", True)]


def test_quickstart(tmp_path: Path) -> None:
    file = with_certificates(tmp_path, "quickstart.yaml")
    snapshot = resolve(load(file), 1)
    assert [(listener.address, listener.tls) for listener in snapshot.listeners] == [(":443", False), (":8455", True)]
    assert [line.removeprefix(f"{file}:") for line in snapshot.warnings] == [
        "38:5: service `frontend` speaks plain HTTP on :443: it has no `tls`",
        "47:13: `weight` has no effect under `least-connections`; `weighted-least-connections` uses it",
        "59:15: `jwt_secret` is the placeholder of an example, which everyone knows: it is not used, and a secret of this instance's "
        "own, kept in `state_dir`, signs instead",
    ]


def test_later_services(tmp_path: Path) -> None:
    file = with_certificates(tmp_path, "later-services.yaml")
    snapshot = resolve(load(file), 1)
    by_name = {service.name: service for service in snapshot.services}
    api = by_name["backend-api"].locations[0]
    assert [
        (b.health.path, b.health.interval, b.health.healthy, b.health.unhealthy, b.health.skip_tls_verify) for b in api.backends
    ] == [
        ("/api_health", 4.0, 1, 2, True),
        ("/", 5.0, 2, 3, True),
    ]
    assert by_name["backend_api_redirect"].redirect_port == 8455
    assert by_name["frontend"].locations[0].rewrite == "/frontend/"
    assert api.policy == "sticky-session" and "sticky" not in " ".join(snapshot.warnings)
    assert api.breaker == Breaker(threshold=5, timeout=60)
    assert (api.pool, api.outlier, api.retry) == (ConnectionPool(max_idle=100, max_open=1000, idle_timeout=90), Outlier(), Retry())


def test_api_and_log_files(tmp_path: Path) -> None:
    api = with_certificates(tmp_path, "later-api.config.yaml")
    settings = load(str(DATA / "basic.yaml"), api_config=api, log_configs=[f"{DATA}/later-log.config.json"])
    snapshot = resolve(settings, 1)
    assert (snapshot.admin_listen, snapshot.admin_host, snapshot.log_level) == (":8081", "lb-api.domain.com", "debug")
    assert snapshot.admin_tls is not None and snapshot.admin_tls.files == ((f"{tmp_path}/made.pem", f"{tmp_path}/made.pem"),)
    assert settings.database is not None and settings.database.path == str(tmp_path / "api.db")
    assert settings.auth is not None and settings.auth.jwt_secret is not None
    assert settings.auth.jwt_secret.get_secret_value() == "YourSecretKey"
    assert "YourSecretKey" not in repr(settings) + "".join(snapshot.warnings)
    assert [line.rpartition("/")[2] for line in settings.warnings if "api.config" in line] == [
        "later-api.config.yaml:16:15: `jwt_secret` is the placeholder of an example, which everyone knows: it is not used, and a secret "
        "of this instance's own, kept in `state_dir`, signs instead",
    ]


def test_the_api_file_wins_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text("api:\n  port: 9999\nadmin_port: 5\n")
    settings = load_text(tmp_path, GOOD + "admin_api: {port: 7777, host: '::1'}\n", api_config=str(tmp_path / "api.yaml"))
    assert resolve(settings, 1).admin_listen == "[::1]:9999"
    assert settings.warnings == (
        f"{tmp_path}/api.yaml:2:3: `api.port` here overrides that of {tmp_path}/t.yaml",
        f"{tmp_path}/api.yaml:3:1: `admin_port` has no effect beside `admin_api.port`",
    )
    (tmp_path / "api.yaml").write_text("api:\n  host: 0.0.0.0\n  prot: 1\nworkers: 3\n")
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / "t.yaml"), api_config=str(tmp_path / "api.yaml"))
    assert [str(problem).removeprefix(f"{tmp_path}/api.yaml:") for problem in caught.value.problems] == [
        "2:9: the management API would be reachable at 0.0.0.0:7777 without TLS: add `tls`, or set `insecure: true`",
        "3:3: unknown key `prot`; did you mean `port`?",
        "4:1: `workers` is not allowed in the file of --api-config, only `api`, `admin_api`, `admin_port`, `auth`, `database`",
    ]


def load_text(directory: Path, text: str, **more: object) -> Settings:
    (directory / "t.yaml").write_text(dedent(text))
    return load(str(directory / "t.yaml"), **more)  # type: ignore[arg-type]


def test_log_files(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(
        '{"loggers": {"terraster": {"level": "warn"}, "shop": {"sanitization": {"sensitiveFields": ["pin"]}}}}'
    )
    (tmp_path / "two.json").write_text(
        '{"loggers": {"service_default": {"sanitization": {"mask": "#"}, "logRotation": {"maxSizeMB": 3}}}}'
    )
    text = SERVICE.replace("  - name: a\n", "  - name: a\n    log_name: shop\n") + "  - name: b\n    http_redirect: true\n"
    settings = load_text(tmp_path, text, log_configs=[f"{tmp_path}/one.json,{tmp_path}/two.json"])
    snapshot = resolve(settings, 1)
    assert snapshot.log_level == "warning"
    assert [(s.access_log.redact_query[-1], s.access_log.mask) for s in snapshot.services] == [("pin", "****"), ("secret", "#")]
    assert settings.warnings == ()
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / "t.yaml"), log_configs=[f"{tmp_path}/one.json", f"{tmp_path}/one.json"])
    assert [problem.message for problem in caught.value.problems] == [
        "logger `terraster` is defined twice",
        "logger `shop` is defined twice",
    ]


def test_services_directory(tmp_path: Path) -> None:
    folder = tmp_path / "services" / "deep"
    folder.mkdir(parents=True)
    (folder / "b.yml").write_text(SERVICE.replace("a.example", "b.example").replace("name: a", "name: b"))
    (folder.parent / "z.yaml").write_text("services: []\n")
    (folder.parent / "ignored.txt").write_text("{")
    settings = load_text(tmp_path, "workers: 1\n", services_dir=str(folder.parent))
    assert [service.name for service in settings.services] == ["b"]
    (folder / "c.yaml").write_text("\n" + SERVICE.replace("name: a", "name: b") + "port: 1\n")
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / "t.yaml"), services_dir=str(folder.parent))
    assert [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems] == [
        "c.yaml:3:11: `name` b is already used by another service",
        "c.yaml:9:1: `port` is not allowed in a file of --services, only `services`",
    ]


def test_environment_and_secrets(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    text = """\
        port: ${PORT}
        workers: ${WORKERS:-3}
        auth: {jwt_secret: "file:secret"}
        access_log: {format: "${status} {uri}"}
        services:
          - name: ${NAME}
            headers:
              request_headers: {X-From: "${remote_addr} ${NAME}"}
            http_redirect: ${REDIRECT}
        """
    (tmp_path / "t.yaml").write_text(dedent(text))
    environ = {"PORT": "8888", "NAME": "shop", "REDIRECT": "true"}
    loader = Loader(environ)
    settings = loader.load(str(tmp_path / "t.yaml"))
    assert (settings.port, settings.workers, settings.services[0].name) == (8888, 3, "shop")
    assert settings.auth is not None and settings.auth.jwt_secret is not None
    assert settings.auth.jwt_secret.get_secret_value() == "hush"
    assert settings.access_log is not None and settings.access_log.format == "${status} {uri}"
    headers = settings.services[0].headers
    assert headers is not None and headers.request_headers == {"X-From": "${remote_addr} shop"}
    environ["NAME"] = "other"
    assert loader.load(str(tmp_path / "t.yaml")).services[0].name == "other"


def test_a_backend_may_be_its_url_alone(tmp_path: Path) -> None:
    text = SERVICE.replace(
        "- url: http://10.0.0.1:9001",
        "- http://10.0.0.1:9001\n          - ${URL:-srv+http://h}\n          - {url: 'http://h', weight: 2}",
    )
    backends = load_text(tmp_path, text).services[0].locations[0].backends
    assert [(backend.url.text, backend.weight) for backend in backends] == [
        ("http://10.0.0.1:9001", 1),
        ("srv+http://h", 1),
        ("http://h", 2),
    ]
    assert load_text(tmp_path, "backends:\n  - http://10.0.0.1:9001\n").backends == load_text(tmp_path, GOOD).backends


LOOKS = [
    "0x1A2B",
    "0o17",
    "-0",
    "+1",
    "1.10",
    "12345e6",
    ".5",
    "1e400",
    "on",
    "no",
    "Off",
    "true",
    "null",
    "~",
    "010",
    "1:30",
    "2024-01-01",
]


@pytest.mark.parametrize("written", LOOKS)
def test_text_is_what_is_written_whatever_it_looks_like(tmp_path: Path, written: str) -> None:
    """In a header's value, and in other text where it comes from the environment; without quotes."""
    text = f"""\
        services:
          - name: s
            headers:
              request_headers: {{X-Plain: {written}, X-Quoted: "{written}", X-Given: "${{GIVEN}}"}}
              response_headers:
                X-Given: ${{GIVEN}}
                X-Default: ${{NONE:-{written}}}
            log_name: ${{GIVEN}}
            http_redirect: true
        """
    (tmp_path / "t.yaml").write_text(dedent(text))
    (tmp_path / "log.json").write_text(json.dumps({"loggers": {written: {}}}))
    settings = Loader({"GIVEN": written}).load(str(tmp_path / "t.yaml"), log_configs=[str(tmp_path / "log.json")])
    service = settings.services[0]
    assert service.headers is not None and service.log_name == written
    assert [*service.headers.request_headers.values(), *service.headers.response_headers.values()] == [written] * 5


def test_text_outside_of_headers_is_what_is_written(tmp_path: Path) -> None:
    settings = load_text(tmp_path, "services: [{name: 1.10, host: [no, 0x1A], log_name: on, http_redirect: yes}]\n")
    service = settings.services[0]
    assert (service.name, service.host, service.log_name, service.http_redirect) == ("1.10", ("no", "0x1a"), "on", True)


@pytest.mark.parametrize("style", ["{}", "'{}'", "${{X}}", '"${{X}}"', "${{NONE:-{}}}"])
def test_a_number_is_read_where_one_is_asked_for(tmp_path: Path, style: str) -> None:
    def of(key: str, value: str) -> Settings:
        (tmp_path / "t.yaml").write_text(GOOD + key.replace("=", style.format(value)) + "\n")
        return Loader({"X": value}).load(str(tmp_path / "t.yaml"))

    assert of("port: =", "8080").port == 8080
    assert of("workers: =", "0x10").workers == 16
    assert of("drain_timeout: =", "1.5").drain_timeout == of("drain_timeout: =", "1500ms").drain_timeout == 1.5
    assert of("drain_timeout: =", ".5").drain_timeout == 0.5 and of("drain_timeout: =", "1e2").drain_timeout == 100
    assert resolve(of("limits:\n  body_size: =", "64"), 1).limits.body_size == 64
    assert of("panic_threshold: =", "0.25").panic_threshold == of("panic_threshold: =", "25%").panic_threshold == 0.25
    assert of("proxy_protocol: =", "on").proxy_protocol is True
    retry = of("retry:\n  on: =", "503").retry
    assert retry is not None and retry.on == ((503, 503),)
    with pytest.raises(ConfigError, match="`port` must be a whole number"):
        of("port: =", "8080.5")
    with pytest.raises(ConfigError, match="`proxy_protocol` must be true or false"):
        of("proxy_protocol: =", "maybe")


def test_an_empty_variable_sets_nothing_but_a_header(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(GOOD + "tls: ${EMPTY}\nlog_level: ${NULL}\n")
    with pytest.raises(ConfigError) as caught:
        Loader({"EMPTY": "", "NULL": "null"}).load(str(tmp_path / "t.yaml"))
    assert [problem.message for problem in caught.value.problems] == [
        "`tls` has no value",
        "`log_level` must be `debug`, `info`, `warning` or `error`",
    ]
    (tmp_path / "t.yaml").write_text(SERVICE + "    headers: {request_headers: {X-A: '${EMPTY}'}}\n")
    headers = Loader({"EMPTY": ""}).load(str(tmp_path / "t.yaml")).services[0].headers
    assert headers is not None and headers.request_headers == {"X-A": ""}


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("$${host}", ["${host}"]),
        ("a$$b $ c", ["a$b $ c"]),
        ("$$${host}$", ["$", "host", "$"]),
        ("$$$${host}", ["$${host}"]),
        ("${GIVEN}", ["a$${host}$b"]),
        ("${GIVEN}${host}", ["a$${host}$b", "host", ""]),
        ("${NONE:-1$$2}", ["1$2"]),
        ("${ho${REST}", ["${host}"]),
    ],
)
def test_dollars_in_header_values(tmp_path: Path, written: str, parts: list[str]) -> None:
    """Two of them are one, and what the environment holds is never taken for a variable."""
    (tmp_path / "t.yaml").write_text(SERVICE + f"    headers: {{response_headers: {{X-A: '{written}'}}}}\n")
    settings = Loader({"GIVEN": "a$${host}$b", "REST": "st}"}).load(str(tmp_path / "t.yaml"))
    ((_, rules),) = resolve(settings, 1).services[0].filters
    (value,) = rules.response_headers.values()  # type: ignore[attr-defined]
    assert header_rules.value_parts(value) == parts


def test_any_filter_s_header_values_may_hold_variables_of_a_request(tmp_path: Path) -> None:
    """The type of a key says what `${…}` means there, not its name."""
    text = "    respond: {status: 302, headers: {Location: 'https://${host}${uri}', X-T: null}}\n"
    (tmp_path / "t.yaml").write_text(SERVICE + text)
    ((_, rules),) = resolve(Loader({}).load(str(tmp_path / "t.yaml")), 1).services[0].filters
    assert rules.headers == {"Location": "https://${host}${uri}", "X-T": "null"}  # type: ignore[attr-defined]


def test_dollars_elsewhere(tmp_path: Path) -> None:
    text = SERVICE + "    log_name: a$$b$${X}${X}$\nruntime_dir: /run/${X:-$$}\naccess_log: {format: '$${status}'}\n"
    (tmp_path / "t.yaml").write_text(text)
    (tmp_path / "log.json").write_text('{"loggers": {"a$b${X}$$y$": {}}}')
    settings = Loader({"X": "$$y"}).load(str(tmp_path / "t.yaml"), log_configs=[str(tmp_path / "log.json")])
    assert (settings.services[0].log_name, settings.runtime_dir) == ("a$b${X}$$y$", "/run/$$y")
    assert settings.access_log is not None and settings.access_log.format == "$${status}"


OFF = ["off", "Off", "OFF", '"off"', "'OFF'", "no", "false", '"False"', "${OFF}"]
SWITCHES = {
    "access_log": "{path: 'off'}",
    "health_check": "{type: none}",
    "retry": "{attempts: 1}",
    "queue": "{size: 0}",
    "outlier": "{enabled: false}",
    "circuit_breaker": "{enabled: false}",
    "compression": "{enabled: false}",
    "tls": "{enabled: false}",
    "api": "{enabled: false}",
    "admin_api": "{enabled: false}",
    "metrics": "{listen: 'off'}",
    "hash_balance_factor": "0",
    "slow_start": "0",
    "panic_threshold": "0",
}


@pytest.mark.parametrize("word", OFF)
def test_off_is_the_same_word_everywhere(tmp_path: Path, word: str) -> None:
    def of(text: str) -> Settings:
        (tmp_path / "t.yaml").write_text(text)
        return Loader({"OFF": "off"}).load(str(tmp_path / "t.yaml"))

    for key, meaning in SWITCHES.items():
        assert getattr(of(f"{GOOD}{key}: {word}\n"), key) == getattr(of(f"{GOOD}{key}: {meaning}\n"), key), key
    for key in ("access_log", "health_check", "retry", "queue", "outlier", "tls"):
        made = [of(f"{SERVICE}    {key}: {written}\n").services[0] for written in (word, SWITCHES[key])]
        assert made[0] == made[1], key
    for key in ("health_check", "retry", "queue", "outlier"):
        made = [of(f"{SERVICE}        {key}: {written}\n").services[0] for written in (word, SWITCHES[key])]
        assert made[0] == made[1], key
    backend = of(f"{SERVICE}            health_check: {word}\n").services[0].locations[0].backends[0]
    assert backend.health_check is not None and backend.health_check.type == "none"
    sticky = of(f"{GOOD}sticky:\n  same_site: {word}\n  secure: {word}\n").sticky
    assert sticky is not None and (sticky.same_site, sticky.secure) == ("", "never")
    retry = of(f"{GOOD}retry:\n  on: {word}\n  hedge: {word}\n").retry
    assert retry is not None and (retry.on, retry.hedge) == ((), 0)
    assert resolve(of(f"{GOOD}metrics: {word}\n"), 1).metrics_listen == ""


@pytest.mark.parametrize(
    ("written", "statuses"),
    [
        ("grpc-unavailable", ((1014, 1014),)),
        ("[503, grpc-unavailable, GRPC_ABORTED]", ((503, 503), (1014, 1014), (1010, 1010))),
        ('"502-504, grpc-deadline-exceeded"', ((502, 504), (1004, 1004))),
    ],
)
def test_statuses_of_grpc_may_be_retried(tmp_path: Path, written: str, statuses: tuple[tuple[int, int], ...]) -> None:
    retry = load_text(tmp_path, f"{GOOD}retry:\n  on: {written}\n").retry
    assert retry is not None and retry.on == statuses


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("grpc-ok", "the words are grpc-cancelled, .*, grpc-unauthenticated"),
        ("grpc-14", "the words are grpc-cancelled, .*, grpc-unauthenticated"),
        ("[503, grpc]", "the words are grpc-cancelled, .*, grpc-unauthenticated"),
        ("grpc-unavailabel", "did you mean `grpc-unavailable`[?]"),
        ("unavailable", "did you mean `grpc-unavailable`[?]"),
        ("[502, DEADLINE_EXCEEDED]", "did you mean `grpc-deadline-exceeded`[?]"),
        ("5xx", 'did you mean "500-599"[?]'),
        ("gateway_error", 'did you mean "502-504"[?]'),
        ("http_503", "did you mean 503[?]"),
        ("[503, conect-failure]", "an attempt without a response is tried again anyway, where that is safe"),
    ],
)
def test_words_that_are_no_status(tmp_path: Path, written: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"(is not a status of gRPC|or a list of them); {hint}$"):
        load_text(tmp_path, f"{GOOD}retry:\n  on: {written}\n")


@pytest.mark.parametrize("written", ["{0}: {{}}\n", "middleware: [{{{0}: {{}}}}]\n", "limits: {{{0}: {{}}}}\n"])
@pytest.mark.parametrize("name", ["buffer", "respond"])
def test_a_filter_of_two_levels_belongs_in_both(tmp_path: Path, name: str, written: str) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` belongs in `services\\[\\]` or in `services\\[\\].locations\\[\\]`$"):
        load_text(tmp_path, GOOD + written.format(name))


@pytest.mark.parametrize("word", ["on", "ON", '"on"', "yes", "'true'"])
def test_on_is_the_same_word_where_there_is_a_switch(tmp_path: Path, word: str) -> None:
    settings = load_text(tmp_path, f"{GOOD}outlier: {word}\ncircuit_breaker: {word}\ncompression: {word}\nadmin_api: {word}\n")
    for switch in (settings.outlier, settings.circuit_breaker, settings.compression, settings.admin_api):
        assert switch is not None and switch.enabled


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    text = """\
        services:
          - name: a
            port: 8001
            locations: &all
              - path: /
                backends: [&one {url: "http://10.0.0.1:1", weight: 2}]
          - name: b
            locations: *all
          - name: c
            port: 8002
            locations:
              - path: /
                backends:
                  - <<: *one
                    url: http://10.0.0.2:1
        """
    urls = [service.locations[0].backends[0] for service in load_text(tmp_path, text).services]
    assert [(backend.url.text, backend.weight) for backend in urls] == [
        ("http://10.0.0.1:1", 2),
        ("http://10.0.0.1:1", 2),
        ("http://10.0.0.2:1", 2),
    ]


def test_users_of_the_api_are_configured(tmp_path: Path) -> None:
    def auth(text: str) -> Auth:
        (tmp_path / "t.yaml").write_text(SERVICE + text)
        return resolve(load(str(tmp_path / "t.yaml")), 1).auth

    assert auth("state_dir: /state\n") == Auth("", "/state/auth.db", 12, 0, 5, 3600.0)
    assert auth("database: {path: /a.db}\n").database == auth("auth: {db_path: /a.db}\n").database == "/a.db"
    assert auth(
        "auth: {password_min_length: 16, password_expiry_days: 90, password_history_size: 3, token_cleanup_interval: 5m, db_path: u.db}\n"
    ) == Auth("", str(tmp_path / "u.db"), 16, 90, 3, 300.0)
    assert problems(tmp_path, SERVICE + "database: {path: /a}\nauth: {password_min_length: 13, db_path: /b}\n") == [
        "8:12: `database.path` and `auth.db_path` mean the same, and name two files: keep one"
    ]


def test_a_secret_that_signs_nothing_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x" * 31)
    (warning,) = warnings(tmp_path, SERVICE + "auth:\n  jwt_secret: file:secret\n")
    assert warning.startswith("9:15: `jwt_secret` has 31 octets, but at least 32 are needed: it is not used")
    assert warnings(tmp_path, SERVICE + "auth: {jwt_secret: 'k3:9d/QpX;rT0v_Zb7Lm-Ws5Yc!Hn2Ef'}\n") == []


def test_loops_are_worth_a_warning(tmp_path: Path) -> None:
    text = SERVICE.replace("http://10.0.0.1:9001", "http://127.0.0.1:8080")
    assert warnings(tmp_path, text) == ["7:18: backend http://127.0.0.1:8080 is an address of Terraster itself: a loop"]


def test_relative_files_are_taken_from_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    settings = load_text(tmp_path, GOOD + "runtime_dir: run\naccess_log: log/access.log\nplugin_directory: /abs\n")
    assert (settings.runtime_dir, settings.plugin_directory) == (str(tmp_path / "run"), "/abs")
    assert settings.access_log is not None and settings.access_log.path == str(tmp_path / "log/access.log")


KEYS = [
    "port",
    "host",
    "services",
    "backends",
    "name",
    "path",
    "url",
    "locations",
    "tls",
    "headers",
    "request_headers",
    "weight",
    "<<",
    "-",
    "?",
]
VALUES = [
    "1",
    "x",
    "[",
    "]",
    "{",
    "}",
    "*a",
    "&a",
    "&a b",
    "!t",
    "|",
    ">",
    '"',
    "'",
    "${X}",
    "~",
    "http://h",
    "/",
    "#",
    "---",
    "...",
    "%",
    "@",
    "\t",
    "é",
    "\u2028",
]
LINES = st.tuples(
    st.integers(0, 6),
    st.sampled_from(["", "- "]),
    st.sampled_from([*KEYS, ""]),
    st.sampled_from(["", ":", ": "]),
    st.lists(st.sampled_from(VALUES), max_size=3),
).map(lambda parts: " " * parts[0] + parts[1] + parts[2] + parts[3] + " ".join(parts[4]))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=60), st.lists(LINES, max_size=12).map("\n".join), st.binary(max_size=40)))
def test_any_text_gives_settings_or_problems(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "t.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        resolve(Loader({"X": "1"}).load(os.fspath(file)), 1)
    except ConfigError as error:
        assert error.problems and all(problem.message and problem.line >= 0 for problem in error.problems)


def test_a_log_is_looked_at_without_making_it(tmp_path: Path) -> None:
    (tmp_path / "old.log").touch()
    for good in ("stdout", "off", str(tmp_path / "new.log"), "old.log"):
        assert problems(tmp_path, GOOD + f"access_log: {good}\n") == []
    assert sorted(os.listdir(tmp_path)) == ["old.log", "t.yaml"]


def test_peers_on_unix_sockets_can_be_trusted(tmp_path: Path) -> None:
    settings = load_text(tmp_path, GOOD + "trusted_proxies: [unix, 10.1.2.3/8]\n")
    assert settings.trusted_proxies == ("unix", "10.0.0.0/8")
    assert Trust(resolve(settings, 1).trusted_proxies).trusts("unix")
    assert problems(tmp_path, GOOD + "api: {allowed_ips: [unix]}\n") == [
        "2:20: `allowed_ips` must be an address or a network like 10.0.0.0/8, not 'unix'"
    ]


def test_a_service_with_tls_and_without_a_certificate_is_right_but_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "c.pem").touch()
    more = "  - name: b\n    host: b\n    port: 444\n    http_redirect: true\n    tls: {min_version: '1.2'}\n"
    text = SERVICE + "    port: 443\n    tls: {}\n" + more + "  - name: c\n    http_redirect: true\n"
    settings = load_text(tmp_path, text)
    file, words = tmp_path / "t.yaml", "`tls` needs `cert_file` and `key_file`, or `cert_dir`, or `auto_cert`"
    first = f"{file}:9:5: {words} (it names no certificate): Terraster does not start with `a`"
    second = f"{file}:14:5: {words} (it names no certificate): Terraster does not start with `b`"
    assert [str(one) for one in settings.refusals] == [first, second]
    assert settings.warnings == (f"{first}; and 1 more",)
    assert (
        load_text(
            tmp_path, text.replace("tls: {}", "tls: {cert_file: c.pem}").replace("min_version: '1.2'", "cert_file: c.pem")
        ).refusals
        == ()
    )


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{key_file: c.pem}", "`key_file` without `cert_file`"),
        ("{certificates: [{key_file: c.pem}]}", "`cert_file`"),
        ("{cert_file: c.pem, min_version: '1.1'}", "1.2"),
        ("{cert_file: c.pem, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}", "not a known cipher suite"),
        ("{cert_file: c.pem, cipher_suites: [ECDHE-RSA-AES128-GCM-SHA265]}", "did you mean `ECDHE-RSA-AES128-GCM-SHA256`"),
    ],
)
def test_tls_that_cannot_be(tmp_path: Path, written: str, problem: str) -> None:
    (tmp_path / "c.pem").touch()
    with pytest.raises(ConfigError, match=problem):
        load_text(tmp_path, SERVICE + f"    tls: {written}\n")


def test_tls_of_a_service_and_of_the_top(tmp_path: Path) -> None:
    (tmp_path / "c.pem").touch()
    suites = "[TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, ecdhe-ecdsa-chacha20-poly1305, TLS_AES_128_GCM_SHA256]"
    own = "tls: {cert_file: c.pem, certificates: [{cert_file: c.pem, key_file: c.pem}], min_version: '1.3', default: true}"
    text = (
        f"tls: {{cert_file: c.pem, cipher_suites: {suites}, session_tickets_disabled: true}}\nhttp2: false\n"
        + SERVICE
        + f"    port: 444\n    {own}\n"
    )
    text += "  - name: b\n    http_redirect: true\n  - name: c\n    port: 80\n    http_redirect: true\n"
    one, other, clear = resolve(load_text(tmp_path, text), 1).services
    file = str(tmp_path / "c.pem")
    assert one.tls == Tls(((file, file), (file, file)), min_version="1.3", default=True)
    assert other.tls == Tls(
        ((file, file),), ciphers=("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"), tickets=False
    )
    assert clear.tls is None


def test_the_folders_of_certificates_of_a_service(tmp_path: Path) -> None:
    more = "".join(
        f"  - name: {name}\n    port: {port}\n    tls: {{cert_dir: {folder}}}\n    http_redirect: true\n"
        for name, port, folder in (("b", 444, "own"), ("c", 445, "common"))
    )
    settings = load_text(tmp_path, "cert_manager: {cert_dir: common}\n" + SERVICE + "    port: 443\n    tls: true\n" + more)
    own, common = str(tmp_path / "own"), str(tmp_path / "common")
    assert (settings.refusals, settings.warnings) == ((), ())
    assert [one.tls.folders for one in resolve(settings, 1).services if one.tls] == [(common,), (own, common), (common,)]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{smtp_host: h}", "needs `smtp_host` and `to_emails`"),
        ("{to_emails: a@b}", "needs `smtp_host` and `to_emails`"),
        ("true", "needs `smtp_host` and `to_emails`"),
        ("{smtp_host: h, to_emails: a@b, from_password: x}", "`from_password` without `from_email`"),
        ("{smtp_host: h, to_emails: [a@b, 'c@d, e@f']}", "'c@d, e@f', which is not a mail address"),
        ("{smtp_host: h, to_emails: a@b, starttls: never}", "starttls"),
    ],
)
def test_mail_that_cannot_be_sent(tmp_path: Path, written: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_text(tmp_path, GOOD + f"cert_manager: {{alerting: {written}}}\n")


def test_mail_before_a_certificate_expires(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    login = f"from_email: lb@a.test, from_password: 'file:{tmp_path}/secret'"
    text = GOOD + f"cert_manager: {{alerting: {{smtp_host: mail.test, to_emails: [a@b.test], {login}}}}}\n"
    snapshot = resolve(load_text(tmp_path, text), 1)
    assert snapshot.alerting == Alerting("mail.test", 587, "lb@a.test", "hunter2", ("a@b.test",))
    assert "hunter2" not in repr(snapshot)
    off = resolve(load_text(tmp_path, GOOD + "cert_manager: {alerting: off}\n"), 1)
    assert off.alerting is None


def test_what_is_faulty_hides_nothing_and_collides_with_nobody(tmp_path: Path) -> None:
    """A service whose host could not be read does not answer to every host; and the others are still compared."""
    twice = "locations: [{path: /, backends: [{url: 'http://h:1'}, {url: 'http://h:1'}]}]"
    text = f"""\
        services:
          - name: a
            hots: a.example.com
            http_redirect: true
          - name: b
            host: 8
            http_redirect: true
          - host: b c
            {twice}
          - name: d
            locations: 5
            host: d
          - name: e
            host: d
            {twice}
        """
    assert problems(tmp_path, text) == [
        "3:5: unknown key `hots`; did you mean `host`?",
        '6:11: `host` must be a host name, "*.example.com" or "*", not a number',
        "8:11: `host` is not a valid host name: 'b c'",
        "9:65: backend http://h:1 is defined twice in its location",
        "11:16: `locations` must be a list",
        "14:11: `host` d on :8080 is already used by service `d`",
        "15:65: backend http://h:1 is defined twice in its location",
    ]


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        (GOOD + "listen: ${X}\n", "hunter2", "`listen` must be an address with a port, like \"127.0.0.1:8080\", not '${X}'"),
        (GOOD + "listen: ${X}\n", "hunter2:80", "`listen` must start with an IP address, not '${X}'"),
        (GOOD + "listen: ['1.2.3.4:80', '${X}:81']\n", "hunter2", "`listen` must start with an IP address, not '${X}:81'"),
        (GOOD + "trusted_proxies: '${X:-hunter2}'\n", "", "must be an address or a network like 10.0.0.0/8, not '${X:-hunter2}'"),
        (GOOD + "algorithm: ${X}\n", "Hunter2", "`algorithm` names an unknown algorithm '${X}'; known are"),
        (GOOD + "access_log: /hunter0/${X}/a.log\n", "hunter2", "/hunter0/${X}/a.log cannot be created: there is no directory /hunter0/${X}"),
        ("backends: [{url: 'http://h:${X}'}]\n", "hunter2", "`url` has a port that is not a number from 1 to 65535: 'http://h:${X}'"),
        ("backends: [{url: '${X}://h'}]\n", "hunter2", "`url` must start with http:// or https://, not ${X}://"),
        (GOOD + "access_log: {fields: ['${X}']}\n", "it's hunter2", "`fields[0]` has the unknown field '${X}'; known fields are"),
        (SERVICE.replace("a.example.com", "${X}").replace("name: a", "name: a b"), "hunter2:8", "(`port` or `listen` say where): '${X}'"),
    ],
)  # fmt: skip
def test_what_comes_from_the_environment_is_not_told(tmp_path: Path, text: str, value: str, expected: str) -> None:
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        Loader({"X": value}).load(str(tmp_path / "t.yaml"))
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value).lower().replace("${x:-hunter2}", "")


def test_a_port_from_the_environment_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(GOOD + "metrics: {listen: '127.0.0.1:${X}'}\n")
    with pytest.raises(ConfigError, match="127.0.0.1:8081 is the address of the management API"):
        Loader({"X": "8081"}).load(str(tmp_path / "t.yaml"))


@pytest.mark.parametrize(
    "key, what", [("ca_file", "authorities"), ("client_cert", "certificate"), ("client_cert: {b}, client_key", "key")]
)
def test_a_file_for_tls_towards_backends_has_to_exist(tmp_path: Path, key: str, what: str) -> None:
    there = tmp_path / "there.pem"
    there.touch()
    file = tmp_path / "terraster.yaml"
    keys = key.replace("{b}", str(there))
    file.write_text(f"backends: [{{url: 'https://h', {keys}: /nowhere/x.pem}}]\n")
    with pytest.raises(ConfigError) as caught:
        Loader({}).load(str(file))
    (problem,) = caught.value.problems
    assert f"the {what} file /nowhere/x.pem cannot be read" in str(problem)
    assert (problem.line, problem.column) == (1, file.read_text().index("/nowhere") + 1)


class Writers(Thread):
    """Opens and closes a named pipe again and again, if the block is not over in 3 s: a test that waits for the pipe fails and does not hang.

    came: True if it did"""

    def __init__(self, pipe: Path) -> None:
        super().__init__(daemon=True)
        self.pipe, self.came, self.over = pipe, False, Event()
        os.mkfifo(pipe)

    def run(self) -> None:
        self.over.wait(3.0)
        while not self.over.wait(0.02):
            self.came = True
            os.close(os.open(self.pipe, os.O_RDWR))

    def __enter__(self) -> Writers:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def test_no_load_waits_for_the_writer_of_a_pipe(tmp_path: Path) -> None:
    """It would hold the master: no reload, no answer to operators."""
    pipe = tmp_path / "pipe"
    with Writers(pipe) as writers:
        (complaint,) = problems(tmp_path, SERVICE + f"      - path: /a\n        respond: {{file: {pipe}}}\n")
        assert complaint.endswith(f"the file {pipe} cannot be read: it is a named pipe, not a file")
        assert problems(tmp_path, GOOD + f"auth: {{jwt_secret: 'file:{pipe}'}}\n") == [
            f"2:20: `jwt_secret` names a file that cannot be read: {pipe}"
        ]
        (complaint,) = problems(tmp_path, f"backends: [{{url: 'https://h', ca_file: {pipe}}}]\n")
        assert complaint.endswith(f"the authorities file {pipe} cannot be read: it is a named pipe, not a file")
        assert not writers.came


@pytest.mark.parametrize("what", ["services_dir", "api_config", "log_configs", "main"])
def test_no_load_waits_for_a_pipe_in_place_of_one_of_its_files(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    good, pipe = folder / "a.yaml", folder / "b.yaml"
    good.write_text(GOOD)
    with Writers(pipe) as writers:
        more = {"services_dir": str(folder), "log_configs": [str(pipe)], "main": None}.get(what, str(pipe))
        with pytest.raises(ConfigError) as caught:
            Loader({}).load(str(pipe if what == "main" else good), **({} if more is None else {what: more}))
        assert f"{pipe}: cannot be read: it is a named pipe, not a file" in [str(one) for one in caught.value.problems]
        assert not writers.came
