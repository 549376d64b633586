"""The errors of the library for ACME, in words for the operator."""

from __future__ import annotations

import requests
from acme import errors, messages

from terraster.certs.acme_job import Job

__all__ = ["words"]


def words(error: Exception, job: Job, seconds: float) -> str:
    """Why there is no certificate. seconds: the time that the authority had"""
    if isinstance(error, errors.ValidationError):
        return "; ".join(_of_name(one) for one in error.failed_authzrs)
    if isinstance(error, errors.IssuanceError):
        return f"the authority did not issue it: {_problem(error.error)}"
    if isinstance(error, messages.Error):
        return f"the authority refused: {_problem(error)}"
    if isinstance(error, errors.TimeoutError):
        return f"the authority was not done within {seconds:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return f"{job.directory}: its certificate is not trusted (`acme.ca_file` names other authorities): {_innermost(error)}"
    if isinstance(error, requests.RequestException):
        return f"cannot reach {job.directory}: {_innermost(error)}"
    if isinstance(error, OSError):
        return f"{error.filename or job.folder}: {error.strerror or error}"
    return f"{job.directory} gave an answer that cannot be understood: {type(error).__name__}: {error}"


def _of_name(one: messages.AuthorizationResource) -> str:
    said = [f"{body.chall.typ}: {_problem(body.error)}" for body in one.body.challenges if body.error is not None]
    return f"{one.body.identifier.value} could not be proved by {'; '.join(said)}"


def _problem(error: messages.Error) -> str:
    parts = [f"{one.identifier.value if one.identifier else 'order'}: {one.detail}" for one in error.subproblems or ()]
    text = "; ".join([str(error.detail or ""), *parts]) or "no reason was given"
    return f"{' '.join(text.split())} ({error.code or error.typ})"


def _innermost(error: BaseException) -> str:
    seen: BaseException = error
    while True:
        reason = getattr(seen, "reason", None)
        inner = (
            reason
            if isinstance(reason, BaseException)
            else next((one for one in seen.args if isinstance(one, BaseException)), None)
        )
        if inner is None:
            return " ".join(str(seen).rpartition("object at 0x")[2].split())
        seen = inner
