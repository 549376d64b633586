"""Spellings of a path below ``/admin``, for tests of access filters."""

from __future__ import annotations

__all__ = ["INSIDE", "MERGED", "OUTSIDE"]

INSIDE = [
    b"/admin",
    b"/admin/",
    b"/admin/x",
    b"//admin",
    b"///admin/x",
    b"/admin//x",
    b"/./admin",
    b"/.//admin",
    b"//./admin/",
    b"/x/../admin",
    b"/x/..//admin",
    b"/%61dmin",
    b"/%61%64%6d%69%6E/x",
    b"/admin%2f",
    b"/admin%2Fx",
    b"/%2fadmin",
    b"/%2F%2fadmin%2fx",
    b"/x%2f..%2fadmin",
    b"/x/%2e%2e/admin",
    b"/x/.%2e%2fadmin",
    b"/admin%5cx",
    b"/%5cadmin",
    b"/x%5c..%5cadmin",
    b"/admin;x",
    b"/admin;a=b/x",
    b"/;x/admin",
    b"/x/..;/admin",
    b"/%2561dmin",
    b"/admin%252fx",
    b"/ADMIN",
    b"/Admin/x",
    b"/admin.",
    b"/admin%20/x",
    b"/admin%09",
    b"/admin%00",
    b"/admin%2500",
    b"/admin?x=/../y",
    b"/admin%3f",
    b"/admin%3Fx/y",
    b"/admin%23",
    b"/admin%253fx",
    b"/admin%3F/%252e%252e/y",
    b"/%41DMIN;a//x",
]
"""Each of them means /admin, or a path below it, to some server."""

MERGED = [b"/x//../admin", b"/x/y//..//../admin"]
"""They do if several slashes are one. Else the paths are /x/admin and /x/y/admin, which is also what the backend gets."""

OUTSIDE = [
    b"/",
    b"/administrator",
    b"/admin-x",
    b"/x/admin",
    b"/x;admin",
    b"/x?/admin",
    b"/x?next=//admin",
    b"/caf%C3%A9",
    b"/what%3F/admin",
    b"/adm%3Fin",
    b"/adm%20in",
    b"/admin~",
    b"/a//b;c",
    b"/.well-known/x",
    b"/admin/../x",
]
"""None of them does."""
