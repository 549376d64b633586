"""Paths rewritten by regular expressions: what the backend is asked for, and which Location the client gets."""

from __future__ import annotations

from .both import twice
from .lines import answered, asked, ok, refused, req, resp, start
from .play import FIN, GONE, RST, b1, b2, client, log, row, told

RULES = r"""
- path: /
  rewrite:
  - {match: '/item/([0-9]+)', to: '/items/\1'}
  - {match: '/old/(.*)', to: '/new?page=\1'}
  - {match: '/up/(\.)a', to: '/.\1/x'}
  - {prefix: /rest}
  backends: [{url: 'http://10.0.0.1:8000/base'}, {url: 'http://10.0.0.2:8000'}]
  lb_policy: first
"""

test_rows = twice(
    row(
        "the path is another one, behind the base path of the backend; each attempt has that of its own backend",
        client >> req("GET /item/42"),
        b1 << asked("GET /base/items/42"),
        b1 >> RST,
        told(b1, "failure"),
        b2 << asked("GET /items/42"),
        b2 >> ok("two"),
        client << answered("200 OK", body="two"),
        log(200, b1, b2),
        locations=RULES,
    ),
    row(
        "the query of the client comes behind that of the rule",
        client >> req("GET /old/7?a=b&c"),
        b1 << asked("GET /base/new?page=7&a=b&c"),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
        client >> req("GET /item/1?a=b"),
        b1 << asked("GET /base/items/1?a=b", n=2),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
        client >> req("GET /old/a%26b=c&d"),
        b1 << asked("GET /base/new?page=a%26b%3Dc%26d", n=3),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
        locations=RULES,
    ),
    row(
        "a path that no rule matches has the prefix replaced",
        client >> req("GET /item/x"),
        b1 << asked("GET /base/rest/item/x"),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
        locations=RULES,
    ),
    row(
        "a path above the root is refused",
        client >> req("GET /up/.a"),
        client << refused(400, "http_request_error", close=True),
        client << FIN,
        client >> GONE,
        log(400, b1, error="http_request_error"),
        locations=RULES,
    ),
    row(
        "OPTIONS * has no path",
        client >> req("OPTIONS *"),
        b1 << asked("OPTIONS *"),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
        locations=RULES,
    ),
    row(
        "Location names the client's host, and keeps the path of the backend",
        client >> req("GET /item/42"),
        b1 << asked("GET /items/42"),
        b1 >> resp("302 Found", "Location: http://10.0.0.1:8000/items/43"),
        client << start("302 Found", "Location: http://a.test/items/43", "Content-Length: 0"),
        log(302, b1),
        location=r"rewrite: {match: '/item/([0-9]+)', to: '/items/\1'}",
    ),
)
