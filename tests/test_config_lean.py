"""The models of services hold only what was written (`terraster.config.settings.lean`)."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from pydantic import Field

from terraster.config.language import language
from terraster.config.settings.backend import BackendSettings
from terraster.config.settings.lean import Lean
from terraster.filters.registry import KINDS

WRITTEN: dict[str, Any] = {
    "name": "shop",
    "locations": [{"path": "/a", "backends": ["http://127.0.0.1:1", {"url": "http://127.0.0.1:2", "weight": 1}]}],
}


def made(written: dict[str, Any] = WRITTEN) -> Any:
    return language(KINDS).service.model_validate(written)


def test_defaults_are_read_from_the_class() -> None:
    service = made()
    location = service.locations[0]
    for one in (service, location, *location.backends):
        for name, field in type(one).model_fields.items():
            if name not in one.model_fields_set:
                assert getattr(one, name) == field.get_default(call_default_factory=True), name
                assert name not in vars(one) or field.default_factory is not None, name


def test_a_written_default_is_written() -> None:
    plain, weighted = made().locations[0].backends
    assert (plain.weight, weighted.weight) == (1, 1)
    assert "weight" in weighted.model_fields_set and "weight" not in plain.model_fields_set


def test_equal_sets_of_written_keys_are_one_object() -> None:
    one, other = made(), made({**WRITTEN, "name": "other"})
    assert one.model_fields_set is other.model_fields_set == {"name", "locations"}


def test_a_copy_with_more_keys_leaves_the_shared_set_alone() -> None:
    service = made()
    more = service.model_copy(update={"host": ("a.test",)})
    assert more.host == ("a.test",) and service.host is None
    assert more.model_fields_set == {"name", "locations", "host"} and service.model_fields_set == {"name", "locations"}


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_are_equal(copied: Any) -> None:
    backend = made().locations[0].backends[1]
    assert copied(backend) == backend and copied(backend).priority == backend.priority
    assert backend != made().locations[0].backends[0]


def test_no_model_inherits_from_a_lean_one() -> None:
    with pytest.raises(TypeError, match="must not inherit from BackendSettings, which is lean"):

        class Further(BackendSettings):
            key: int = 0


def test_a_language_with_other_kinds_has_the_same_defaults() -> None:
    few, all_ = language(KINDS[:2]).service, language(KINDS).service
    assert few is not all_ and few.model_fields["listen"].description == all_.model_fields["listen"].description


def test_a_factory_makes_a_value_for_each() -> None:
    class Shelf(Lean):
        books: dict[str, int] = Field(default_factory=dict)

    one, other = Shelf(), Shelf()
    assert one.books == {} and one.books is not other.books
