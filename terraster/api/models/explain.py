"""Questions about a request, and what is answered."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from .base import Model, Query

__all__ = ["Explained", "ExplainQuery"]


class ExplainQuery(Query):
    request: Annotated[str, Field(min_length=1, max_length=8000, description="Method and URL, such as `GET https://a.test/b`.")]
    client: Annotated[str, Field(max_length=100, description="The address of the client. Default: 192.0.2.1.")] = ""
    headers: Annotated[str, Field(max_length=8000, description="Header fields of the request, a line each.")] = ""
    listener: Annotated[
        str, Field(max_length=300, description="The listener that is asked. Default: that of the port in the URL.")
    ] = ""


class Explained(Model):
    """The courses of a request: one for each listener that could be meant."""

    generation: int
    request: str
    courses: list[dict[str, Any]]
    edits: Annotated[list[dict[str, Any]], Field(description="Changes above the files that these services have.")]
    stale: Annotated[list[str], Field(description="Files that changed since the last reload.")]
    text: Annotated[str, Field(description="The same for people, as `terrasterctl explain` prints it.")]
