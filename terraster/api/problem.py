"""The answer to a refused request: `application/problem+json` (RFC 9457).

``instance`` is the request's id, which the log and the audit have too. ``errors`` names each mistake of a body or query by a JSON pointer
(RFC 6901). No input is repeated: it may be a password.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from ..config.sentences import sentence
from ..errors import TerrasterError
from .models.base import Model

__all__ = ["Mistake", "Problem", "Refused", "mistakes", "phrase"]

_MOST = 20


class Mistake(Model):
    """One mistake of a request."""

    pointer: Annotated[str, Field(description="JSON pointer to the value, such as `/weight`.")]
    detail: Annotated[str, Field(description="The mistake in words.")]
    where: Annotated[Literal["body", "query", "path"], Field(description="The part of the request.")] = "body"


class Problem(Model):
    """An answer that is not what was asked for (RFC 9457)."""

    type: str = "about:blank"
    title: Annotated[str, Field(description="The status in words.")]
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(description="The reason, and a way out.")] = ""
    instance: Annotated[str, Field(description="The id of the request. The log has it too.")] = ""
    errors: Annotated[list[Mistake], Field(description="Each mistake of the body or the query.")] = []
    error: Annotated[
        str, Field(description="The detail again, in what the port itself refuses: for programs that know no problems.")
    ] = ""
    exception: Annotated[str, Field(description="With `api.debug`: the class of the exception.")] = ""

    def octets(self) -> bytes:
        """The body of the answer. Members without a value are left out."""
        return self.model_dump_json(exclude_defaults=True).encode() + b"\n"


class Refused(TerrasterError):
    """An operation refuses a request. headers: of the answer, such as `Retry-After` or the current `ETag`. target: for the audit, such as
    `user ada`"""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Iterable[Mistake] = (),
        headers: Iterable[tuple[str, str]] = (),
        exception: str = "",
        target: str = "",
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.headers = tuple(headers)
        self.exception = exception
        self.target = target

    def problem(self, instance: str) -> Problem:
        return Problem(
            title=phrase(self.status),
            status=self.status,
            detail=self.detail,
            instance=instance,
            errors=self.errors,
            exception=self.exception,
        )


def phrase(status: int) -> str:
    """The status in words, such as ``Not Found``."""
    return HTTPStatus(status).phrase


def mistakes(error: ValidationError, where: Literal["body", "query", "path"]) -> list[Mistake]:
    """The mistakes that pydantic found, in plain words."""
    found = error.errors(include_url=False, include_input=False)
    return [Mistake(pointer=_pointer(one["loc"]), detail=_words(one), where=where) for one in found[:_MOST]]


def _pointer(path: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _words(one: ErrorDetails) -> str:
    return "is unknown" if one["type"] == "extra_forbidden" else sentence(one)
