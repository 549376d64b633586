"""The base model of all settings, and the types that check what people write.

A type here checks one value and says what is wrong in words that follow "`key` …"; `terraster.config.messages` adds the key, the
loader its place. Pydantic's own messages never reach an operator. The validation context may hold ``directory`` (against which
relative file names are taken; default: the working directory) and ``consulted`` (a dict that remembers which secret files were
read and what they held).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from .. import addresses, algorithms, header_rules, quantities, scalars
from ..regular import regular

__all__ = [
    "Address",
    "Algorithm",
    "Duration",
    "FileOrOff",
    "FilePath",
    "HeaderName",
    "HeaderValue",
    "Hosts",
    "Listen",
    "Model",
    "Names",
    "Nameservers",
    "Networks",
    "Path",
    "Peers",
    "Port",
    "RemovedName",
    "Secret",
    "Size",
    "SomeTime",
    "StatusRanges",
    "Text",
    "Whole",
    "default_of",
    "file_path",
    "items",
    "keys_of",
    "one_of",
    "quantity_of",
    "read_secret",
    "status_ranges",
    "submodel",
    "text",
    "uri_path",
    "holds_header_values",
]

_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_URI_PATH = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]]|%(?!00)[0-9A-Fa-f]{2})*")
_STATUS = re.compile(r"([1-5][0-9][0-9])\s*(?:-\s*([1-5][0-9][0-9]))?")
_DEFAULT = re.compile(r" Default: (.*?)\.$")


class Model(BaseModel):
    """A mapping in the file: frozen, and no key but those named."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True, defer_build=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema with each default told in the key's description, as an operator would write it."""
        made = handler(core)
        properties = handler.resolve_ref_schema(made).get("properties", {})
        for name, field in keys_of(cls).items():
            if name in properties and (default := default_of(field)) and _DEFAULT.search(field.description or "") is None:
                properties[name]["description"] = f"{field.description} Default: {default}."
        return made

    def written(self, name: str) -> Any:
        """The value of a field if it was written, else None."""
        return getattr(self, name) if name in self.model_fields_set else None


def one_of(model: Model, one: str, other: str) -> None:
    """ValueError if both of two spellings of one key are set."""
    if one in model.model_fields_set and other in model.model_fields_set:
        raise ValueError(f"has both `{one}` and `{other}`, which mean the same: keep one")


def _whole(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return scalars.number(value)


def text(value: object) -> str:
    """The value if it is text without control characters (but tabs); ValueError else."""
    if isinstance(value, bool) or not isinstance(value, str):
        raise ValueError("must be text")
    if _CONTROLS.search(value):
        raise ValueError("must not contain control characters")
    return value


def items(value: object, what: str) -> list[object]:
    """The items of a list, or the value alone as one. ValueError for a mapping: it must be `what`."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, dict):
        raise ValueError(f"must be {what} or a list of them")
    return [value]


def _listen(value: object) -> tuple[str, ...]:
    found = tuple(addresses.listen_address(item) for item in items(value, "an address"))
    if not found:
        raise ValueError("must not be an empty list")
    for index, one in enumerate(found):
        for other in found[:index]:
            if one == other:
                raise ValueError(f"names {one} twice")
            if addresses.overlap(one, other):
                raise ValueError(f"names {other} and {one}, which overlap")
    return found


def _hosts(value: object) -> tuple[str, ...]:
    found = tuple(addresses.host_name(item) for item in items(value, "a host name"))
    if not found:
        raise ValueError("must not be an empty list")
    for index, one in enumerate(found):
        if one in found[:index]:
            raise ValueError(f"names {one} twice")
    return found


def _networks(value: object) -> tuple[str, ...]:
    return tuple(addresses.network(item) for item in items(value, "a network"))


def _peers(value: object) -> tuple[str, ...]:
    found = items(value, 'a network or "unix"')
    return tuple("unix" if item == "unix" else addresses.network(item) for item in found)


def _nameservers(value: object) -> tuple[str, ...]:
    found = tuple(addresses.nameserver(item) for item in items(value, "an address"))
    if len(set(found)) < len(found):
        raise ValueError("contains an address twice")
    return found


def _names(value: object) -> tuple[str, ...]:
    return tuple(text(item) for item in items(value, "text"))


def uri_path(value: object) -> str:
    """A percent-encoded path that starts with a slash; ValueError else."""
    path = text(value)
    if not path.startswith("/"):
        raise ValueError(f'must start with "/", not {path!r}')
    if not _URI_PATH.fullmatch(path):
        raise ValueError("contains characters that must be percent-encoded in a path")
    return path


def _header_name(value: object) -> str:
    name = text(value)
    header_rules.field_name(name)
    return name


def _removed_name(value: object) -> str:
    name = text(value)
    header_rules.removable(name)
    return name


def _header_value(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    written = text(value).strip()
    header_rules.value_parts(written)
    return written


def holds_header_values(field: FieldInfo) -> bool:
    """True if the key holds the value of a header field, or a mapping of them: ``${…}`` names variables of a request there."""
    kinds = [field.metadata, *(getattr(part, "__metadata__", ()) for part in get_args(field.annotation))]
    return any(isinstance(mark, BeforeValidator) and mark.func is _header_value for marks in kinds for mark in marks)


def file_path(value: str, info: ValidationInfo) -> str:
    """An absolute file name; a relative one is taken from the context's ``directory``."""
    directory = (info.context or {}).get("directory", "")
    return os.path.normpath(os.path.join(directory or os.getcwd(), os.path.expanduser(value)))


def read_secret(path: str) -> str | None:
    """The text of a secret's file without the newline at its end; None if it cannot be read as text."""
    try:
        with open(path, encoding="utf-8", opener=regular) as file:
            return file.read(65536).rstrip("\r\n")
    except (OSError, UnicodeDecodeError, ValueError):
        return None


def _secret(value: object, info: ValidationInfo) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    written = text(value)
    if not written.startswith("file:"):
        return written
    path = file_path(written[5:], info)
    found = read_secret(path)
    consulted = (info.context or {}).get("consulted")
    if consulted is not None:
        consulted[path] = found
    if found is None:
        raise ValueError(f"names a file that cannot be read: {path}")
    return found


def status_ranges(value: object) -> tuple[tuple[int, int], ...]:
    """Ranges of statuses from one, a text like ``"200-299, 404"``, or a list of both. ValueError else."""
    ranges = []
    items = value if isinstance(value, list | tuple) else str(value).split(",") if isinstance(value, str | int) else [value]
    for item in items:
        match = None if isinstance(item, bool) or not isinstance(item, int | str) else _STATUS.fullmatch(str(item).strip())
        if match is None:
            raise ValueError('must be a status, a range like "200-399", or a list of them')
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high:
            raise ValueError(f"has a range that runs backwards: {item}")
        ranges.append((low, high))
    if not ranges:
        raise ValueError("must not be an empty list")
    return tuple(ranges)


_DURATION_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\s*([0-9.]+\s*([nuµm]?s|m|h|d|w)?\s*)+$|\$\{"}]
}
_SIZE_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\s*[0-9.]+\s*([kKmMgGtT]?)([iI]?[bB])?\s*$|\$\{"}]
}
_TEXT_OR_LIST = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_ADDRESS = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
_SCALAR = ["string", "number", "boolean"]
"""The types that a YAML parser of an editor may see in what is text: `name: 1.10` needs no quotes."""

Whole = Annotated[int, BeforeValidator(_whole)]
Port = Annotated[Whole, Field(ge=1, le=65535)]
Text = Annotated[str, BeforeValidator(text), WithJsonSchema({"type": _SCALAR})]
Duration = Annotated[float, quantities.SECONDS, BeforeValidator(quantities.duration), WithJsonSchema(_DURATION_SCHEMA)]
_SOME_TIME_SCHEMA = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _DURATION_SCHEMA["anyOf"][1]]}
SomeTime = Annotated[
    float, quantities.SECONDS, Field(gt=0), BeforeValidator(quantities.duration), WithJsonSchema(_SOME_TIME_SCHEMA)
]
"""A duration that cannot be 0."""
Size = Annotated[int, quantities.OCTETS, BeforeValidator(quantities.size), WithJsonSchema(_SIZE_SCHEMA)]
Algorithm = Annotated[
    str,
    BeforeValidator(algorithms.algorithm),
    WithJsonSchema(
        {"type": "string", "enum": sorted({*algorithms.ALGORITHMS, *(name.replace("-", "_") for name in algorithms.ALGORITHMS)})}
    ),
]
Listen = Annotated[
    tuple[str, ...], BeforeValidator(_listen), WithJsonSchema({"anyOf": [*_ADDRESS["anyOf"], {"type": "array", "items": _ADDRESS}]})
]
Address = Annotated[str, BeforeValidator(addresses.listen_address), WithJsonSchema(_ADDRESS)]
Hosts = Annotated[tuple[str, ...], BeforeValidator(_hosts), WithJsonSchema(_TEXT_OR_LIST)]
Networks = Annotated[tuple[str, ...], BeforeValidator(_networks), WithJsonSchema(_TEXT_OR_LIST)]
Peers = Annotated[tuple[str, ...], BeforeValidator(_peers), WithJsonSchema(_TEXT_OR_LIST)]
"""Networks, and "unix" for all clients of a unix socket."""
Nameservers = Annotated[tuple[str, ...], BeforeValidator(_nameservers), WithJsonSchema(_TEXT_OR_LIST)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names), WithJsonSchema(_TEXT_OR_LIST)]
Path = Annotated[str, BeforeValidator(uri_path), WithJsonSchema({"type": "string", "pattern": "^/"})]
HeaderName = Annotated[str, BeforeValidator(_header_name)]
RemovedName = Annotated[str, BeforeValidator(_removed_name)]
HeaderValue = Annotated[str, BeforeValidator(_header_value), WithJsonSchema({"type": [*_SCALAR, "null"]})]
_ONE_STATUS: dict[str, Any] = {"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, {"type": "string"}]}
StatusRanges = Annotated[
    tuple[tuple[int, int], ...],
    BeforeValidator(status_ranges),
    WithJsonSchema({"anyOf": [*_ONE_STATUS["anyOf"], {"type": "array", "items": _ONE_STATUS}]}),
]
"""Response statuses as ranges, both ends included."""
FilePath = Annotated[Text, AfterValidator(file_path)]


def _file_or_off(value: object, info: ValidationInfo) -> str:
    return "" if scalars.is_off(value) or value == "" else file_path(text(value), info)


FileOrOff = Annotated[
    str, BeforeValidator(_file_or_off), WithJsonSchema({"anyOf": [{"type": "string"}, {"enum": [False, "off", "no", "false"]}]})
]
"""A file name, or `off` (empty) where a wider level names one."""
Secret = Annotated[SecretStr, BeforeValidator(_secret), WithJsonSchema({"type": "string"})]


def default_of(field: FieldInfo) -> str:
    """The default of a key as the file would say it: the field's own, or, where that depends on other keys, the words of its description;
    "" if it has none."""
    default = field.default
    if field.is_required():
        return ""
    if isinstance(default, bool):
        return "true" if default else "false"
    quantity = quantity_of(field)
    if default in (0, ()) and quantity is quantities.OR_OFF:
        return "off"
    if isinstance(default, int | float) and default >= 0:
        return quantities.shown(default, quantity) if default else "0"
    if isinstance(default, tuple) and default and isinstance(default[0], tuple):
        return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in default)
    if isinstance(default, tuple) and default and all(isinstance(one, str) for one in default):
        return ", ".join(default)
    if isinstance(default, str) and default not in ("", "-"):
        return default
    said = _DEFAULT.search(field.description or "")
    return said[1] if said is not None else ""


def quantity_of(field: FieldInfo) -> quantities.Quantity | None:
    """The unit of a key's number, None if it has none."""
    found = [one for one in field.metadata if isinstance(one, quantities.Quantity)] or list(_quantities(field.annotation))
    return found[0] if found else None


def _quantities(annotation: Any) -> Iterator[quantities.Quantity]:
    for part in get_args(annotation):
        if isinstance(part, quantities.Quantity):
            yield part
        elif get_origin(part) is not None:
            yield from _quantities(part)


def submodel(annotation: Any) -> tuple[type[Model] | None, str]:
    """The model a field's annotation leads to, if any, and how: "" directly, "[]" in a list, "{}" as a value of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation, ""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return submodel(arguments[0])
    how = "[]" if origin in (tuple, list) else "{}" if origin is dict else ""
    for argument in reversed(arguments):
        if argument is not Ellipsis:
            model, _ = submodel(argument)
            if model is not None:
                return model, how
    return None, ""


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's fields by the spelling of their keys in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}
