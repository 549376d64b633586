"""Problems between keys that no type can express, within one service and across all services.

Pure: settings in, complaints out, each with the path of the key it is about (`terraster.config.messages`); the loader knows the
places. `of_service` looks at one service alone, so that its answer can be kept with it; `of_all` looks at what services have in
common and must be fast for ten thousand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pydantic import BaseModel

from . import acme, host_checks, http2, loggers, management, match_checks, tracing
from .addresses import Url, is_loopback, port_of
from .language import Language, Written
from .listeners import Rule, host_address, management_address, metrics_address, same_place
from .messages import Complaint, suggestion
from .settings import BackendSettings, HealthCheckSettings, LocationSettings, ServiceSettings, Settings
from .settings.split import SplitSettings
from .splitting import arm_names

__all__ = ["canonical", "notes", "of_all", "of_service", "of_top", "warnings"]

Path = tuple[str | int, ...]


def of_service(known: Language, service: ServiceSettings, whole: bool = True) -> Iterator[Complaint]:
    """The problems within one service; paths begin at the service. Without `whole`, faulty keys were left out: none is reported missing."""
    written = known.written(service)
    answering = _answering(known, written)
    if whole and not service.locations and not service.http_redirect and not answering:
        yield (), False, f"service `{service.label}` has no `locations` and no `http_redirect`: it cannot answer requests"
    yield from _of_kinds(service, written)
    paths = [canonical(location.path) for location in service.locations]
    yield from match_checks.errors(service, paths)
    sources: dict[str, int] = {}
    for index, location in enumerate(service.locations):
        here: Path = ("locations", index)
        prefix = paths[index].rstrip("/")  # a final slash makes no other prefix: `terraster.route.prefix`
        written = known.written(location)
        yield from _of_kinds(location, written, here)
        answers = _answering(known, written, answering)
        yield from _of_location(service, location, here, prefix, whole and not answers)
        if location.redirect is not None and location.redirect.startswith("/") and location.forwards:
            source = canonical(location.redirect)
            if source in sources:
                yield (*here, "redirect"), False, f"`redirect` {location.redirect} is already used by another location"
            sources.setdefault(source, index)


def _of_location(service: ServiceSettings, location: LocationSettings, here: Path, prefix: str, whole: bool) -> Iterator[Complaint]:
    redirects = location.http_redirect if location.http_redirect is not None else service.http_redirect
    if whole and not location.forwards and not location.redirect and not redirects:
        yield here, False, f"location {location.path} has neither `backends` nor `redirect`: it cannot answer requests"
    if location.redirect is not None and location.redirect.startswith("/"):
        target, mark, _ = location.redirect.partition("?")
        if location.forwards and (mark or "#" in target or "%00" in target):
            yield (*here, "redirect"), False, f"`redirect` {location.redirect} must be a plain path, as the location has backends"
        elif canonical(target) == canonical(location.path) if location.forwards else _lies_below(canonical(target), prefix):
            yield (*here, "redirect"), False, f"`redirect` {location.redirect} leads back to its own location"
    for inside, part in location.parts():
        yield from of_backends(part.backends, (*here, *inside, "backends"))
    if location.split is not None:
        yield from _of_split(location, location.split, (*here, "split"), whole)


def _of_split(location: LocationSettings, split: SplitSettings, here: Path, whole: bool) -> Iterator[Complaint]:
    """Arms that cannot be told apart, or that nothing can be sent to. whole: see `of_service`"""
    if location.backends:
        yield here, True, "`split` and `backends` both say where requests go: keep one"
    if whole and len(split.to) < 2:
        yield (*here, "to"), True, "`to` needs two arms or more"
    elif whole and not any(arm.weight for arm in split.to):
        yield (*here, "to"), True, "`to` has no arm with a `weight` above 0: no client could be served"
    if split.name is not None and split.name.startswith("__Host-") and (split.path or location.path) != "/":
        yield (*here, "name"), False, "`name` begins with __Host-, which requires `path: /`"
    if split.name is not None and split.name.startswith(("__Host-", "__Secure-")) and split.secure == "never":
        yield (*here, "name"), False, f"`name` begins with {split.name[: split.name.index('-') + 1]}, which requires `secure`"
    names = arm_names(split)
    for number, (name, arm) in enumerate(zip(names, split.to, strict=True)):
        if name in names[:number]:
            key = "name" if arm.name is not None else "weight"
            yield (*here, "to", number, key), False, f"arm {name} is there twice: give each another `name`"
        if whole and not arm.backends:
            yield (*here, "to", number), False, f"arm {name} has no `backends`"


def _lies_below(path: str, prefix: str) -> bool:
    return path.rstrip("/") == prefix or path.startswith(prefix + "/")


def of_backends(backends: Sequence[BackendSettings], here: Path) -> Iterator[Complaint]:
    """Backends that are there twice, however they are spelt; names that mean two backends; backends in two tiers."""
    names: set[str] = set()
    hosts = {backend.url.host for backend in backends if not backend.url.socket} if any(one.name for one in backends) else set()
    seen: set[tuple[str, str, int, str, bool, str]] = set()
    for index, backend in enumerate(backends):
        url = backend.url
        key = (url.scheme, url.host, url.port, url.base_path, url.srv, url.socket)
        if key in seen:
            yield (*here, index, "url"), False, f"backend {url.text} is defined twice in its location"
        seen.add(key)
        if backend.name in names:
            yield (*here, index, "name"), False, f"`name` {backend.name} is already used by another backend of this location"
        elif backend.name is not None and backend.name.lower() in hosts - {url.host}:
            yield (*here, index, "name"), False, f"`name` {backend.name} is the host of another backend of this location"
        if backend.name is not None:
            names.add(backend.name)
        if backend.backup and "priority" in backend.model_fields_set:
            yield (*here, index, "backup"), True, "`backup` and `priority` both define when the backend is used: keep one"


def _answering(known: Language, written: Sequence[Written], inherited: frozenset[str] = frozenset()) -> frozenset[str]:
    """The kinds that answer all requests on a level. inherited: those of the wider level."""
    found = inherited
    for kind, settings, _, _ in written:
        if kind.name in known.answering:
            found = found | {kind.name} if getattr(settings, "enabled", True) else found - {kind.name}
    return found


def _of_kinds(level: BaseModel, written: Sequence[Written], here: Path = ()) -> Iterator[Complaint]:
    """Kinds that a level writes several times, of which one would have no effect."""
    seen: dict[tuple[str, str], bool] = {}
    for kind, settings, path, shorthand in written:
        key = kind.name, settings.entry
        if key in seen:
            own = "at the top level" if isinstance(level, Settings) else "as a key of its own"
            words = f"here and {own}" if seen[key] else "keep one entry of it"
            if "name" in type(settings).model_fields:
                words += ", or give each a `name`" if not settings.entry else f", or give each another `name` than {settings.entry}"
            yield (*here, *path), True, f"`{kind.name}` is defined twice: {words}"
        seen.setdefault(key, shorthand)


def of_top(known: Language, top: Settings) -> Iterator[Complaint]:
    """The problems between keys at the top."""
    yield from of_backends(top.backends, ("backends",))
    yield from _of_kinds(top, known.written(top))
    if top.api is not None and top.admin_api is not None:
        yield ("admin_api",), True, "`admin_api` and `api` mean the same: keep one"
    admin, metrics = management_address(top), metrics_address(top)
    api = top.management()
    where = ("api" if top.api is not None else "admin_api" if top.admin_api is not None else "admin_port",)
    secured = api.tls is not None and api.tls.enabled
    if admin and not is_loopback(admin) and not secured and not api.insecure:
        yield (
            (*where, "host"),
            False,
            f"the management API would be reachable at {admin} without TLS: add `tls`, or set `insecure: true`",
        )
    yield from management.errors(top)
    if admin and metrics and same_place(admin, metrics):
        yield (
            ("metrics", "listen"),
            False,
            f"`listen` {metrics} is the address of the management API, which serves /metrics anyway: set `off`",
        )


def of_all(top: Settings, services: Sequence[tuple[Path, ServiceSettings]], unplaced: Collection[Path] = ()) -> Iterator[Complaint]:
    """The problems between services: names, hosts on listeners, listeners.

    services: each with its path; unplaced: paths of those whose hosts and addresses are not known for certain
    """
    rule = Rule(top)
    names: dict[str, Path] = {}
    hosts: dict[tuple[str, str], tuple[Path, str]] = {}
    listeners: dict[str, tuple[str, bool, bool]] = {}
    for path, service in services:
        label = service.label
        if path in unplaced and service.name is None:
            continue
        if label in names:
            key = "name" if service.name is not None else "host"
            yield (*path, key), False, f"`name` {label} is already used by another service"
        names.setdefault(label, path)
        if path in unplaced:
            continue
        proxied = rule.proxy_protocol(service)
        for address, tls in rule.of(service):
            for host in service.host or ("*",):
                other = hosts.setdefault((address, host), (path, label))
                if other[0] != path:
                    yield (*path, "host"), False, f"`host` {host} on {address} is already used by service `{other[1]}`"
            known = listeners.setdefault(address, (label, tls, proxied))
            if known[1] != tls:
                words = ("TLS", "plain HTTP") if tls else ("plain HTTP", "TLS")
                yield (
                    (*path, "tls"),
                    False,
                    f"service `{label}` wants {words[0]} on {address}, where service `{known[0]}` speaks {words[1]}",
                )
            elif known[2] != proxied:
                yield (*path, "proxy_protocol"), False, f"`proxy_protocol` on {address} is not what service `{known[0]}` says"
    yield from _of_listeners(top, listeners, names)
    yield from _of_loggers(top, services, False)
    yield from acme.errors(top, [one for one in services if one[0] not in unplaced])
    yield from tracing.errors(top, services)


def _of_listeners(top: Settings, listeners: dict[str, tuple[str, bool, bool]], names: dict[str, Path]) -> Iterator[Complaint]:
    by_port: dict[int, list[str]] = {}
    taken = {"the management API": management_address(top), "`metrics`": metrics_address(top)}
    for address, (label, _, _) in listeners.items():
        for other in by_port.setdefault(port_of(address), []):
            if same_place(address, other):
                words = f"service `{label}` listens on {address}, which overlaps with {other} of service `{listeners[other][0]}`"
                yield (*names[label], "listen"), False, words
        by_port[port_of(address)].append(address)
        for what, reserved in taken.items():
            if reserved and same_place(address, reserved):
                yield (
                    (*names[label], "port"),
                    False,
                    f"service `{label}` listens on {address}, which is the address of {what} ({reserved})",
                )


def warnings(top: Settings, services: Sequence[tuple[Path, ServiceSettings]]) -> Iterator[Complaint]:
    """The warnings: what is allowed but probably not intended."""
    rule = Rule(top)
    api = top.management()
    if api.enabled and api.host is not None and not host_address(api.host):
        key = "api" if top.api is not None else "admin_api"
        if is_loopback(management_address(top)):
            words = f"`host` {api.host} is a name: without `tls` the management API listens on {management_address(top)} only"
            yield (key, "host"), False, words
    yield from management.refusals(top)
    yield from management.warnings(top)
    yield from acme.warnings(top, services)
    yield from tracing.warnings(top, services)
    yield from _logger_warnings(top)
    yield from _of_loggers(top, services, True)
    yield from _of_protocols(top, services, rule)
    yield from http2.warnings(top, services)
    yield from host_checks.warnings(rule, services)
    own: dict[int, list[str]] = {}
    for address in (management_address(top), metrics_address(top)):
        if address:
            own.setdefault(port_of(address), []).append(address)
    clear = ""
    for path, service in services:
        if any(location.match is not None for location in service.locations):
            paths = [canonical(location.path) for location in service.locations]
            yield from (((*path, *complaint[0]), *complaint[1:]) for complaint in match_checks.warnings(service, paths))
        if top.merge_slashes if service.merge_slashes is None else service.merge_slashes:
            for index, location in enumerate(service.locations):
                if "//" in canonical(location.path):
                    words = (
                        f"`path` {location.path} has two slashes in a row: `merge_slashes` makes them one, so no request gets here"
                    )
                    yield (*path, "locations", index, "path"), False, words
        if rule.proxy_protocol(service) and not top.trusted_proxies and not clear:
            clear = "said"
            yield (*path, "proxy_protocol"), True, "`proxy_protocol` without `trusted_proxies`: every connection will be refused"
        for address, tls in rule.of(service):
            found = own.setdefault(port_of(address), [])
            if address not in found:
                found.append(address)
            if not tls and address.endswith(":443"):
                yield (*path, "tls"), False, f"service `{service.label}` speaks plain HTTP on {address}: it has no `tls`"
    for path, service in services:
        for index, location in enumerate(service.locations):
            for inside, part in location.parts():
                here = path if path == ("backends",) else (*path, "locations", index, *inside, "backends")
                if part.backends and all(backend.backup for backend in part.backends):
                    yield (*here, 0, "backup"), True, "every backend here is a `backup`: this has the same effect as no `backup`"
                for number, backend in enumerate(part.backends):
                    if any(
                        _reaches(backend.url, address) for address in own.get(0 if backend.url.socket else backend.url.port, ())
                    ):
                        yield (*here, number, "url"), False, f"backend {backend.url.text} is an address of Terraster itself: a loop"


def notes(top: Settings, services: Sequence[tuple[Path, ServiceSettings]]) -> Iterator[Complaint]:
    """Surprising effects of keys that were not written: the first backends that are probed by default, if there are any."""
    if _says_how(top.health_check):
        return
    for path, service in services:
        if _says_how(service.health_check):
            continue
        for index, location in enumerate(service.locations):
            for inside, part in location.parts():
                if _says_how(part.health_check) or all(_says_how(backend.health_check) for backend in part.backends):
                    continue
                here = path if path == ("backends",) else (*path, "locations", index, *inside, "backends")
                yield (
                    here,
                    True,
                    "no `health_check`: /health must answer 200 to 399; another path: `health_check: {path: /}`, or `off`",
                )
                return


def _says_how(check: HealthCheckSettings | None) -> bool:
    return check is not None and ("path" in check.model_fields_set or check.type in ("tcp", "grpc", "none"))


def _of_loggers(top: Settings, services: Sequence[tuple[Path, ServiceSettings]], known: bool) -> Iterator[Complaint]:
    """Names of loggers that are not there: an error (not `known`) where some are there for services, or a name is nearly right; else the
    name is only a label, and what is said is a warning."""
    own = [name for name in top.loggers if name not in ("terraster", "service_default")]
    for path, service in services:
        name = service.log_name
        if name is None or name in top.loggers:
            continue
        near = suggestion(name, top.loggers, 0.6 if own else 0.8)
        if bool(own or near) is known:
            continue
        if not known:
            there = near or f"; there are {', '.join(f'`{one}`' for one in top.loggers)}"
            yield (*path, "log_name"), False, f"`log_name` {name} is not one of the `loggers`{there}"
        elif "service_default" in top.loggers:
            yield (*path, "log_name"), False, f"`log_name` {name} is not one of the `loggers`: `service_default` is used"
        else:
            yield (*path, "log_name"), False, f"`log_name` {name} has no effect: there are no `loggers` for services"


def _logger_warnings(top: Settings) -> Iterator[Complaint]:
    """Keys of loggers that do nothing, or not what their name says."""
    for name, logger in top.loggers.items():
        if name == loggers.PROGRAM and logger.level is not None and top.log_level is not None:
            yield ("loggers", name, "level"), True, "`level` of logger `terraster` has no effect beside `log_level`"
        elif name != loggers.PROGRAM and logger.development:
            yield ("loggers", name, "development"), True, f"`development` has no effect for logger `{name}`: it is for `terraster`"
        if logger.error_output_paths and name != loggers.PROGRAM and not loggers.says_where(logger):
            yield (
                ("loggers", name, "errorOutputPaths"),
                True,
                f"`errorOutputPaths` of logger `{name}` has no effect without `outputPaths`",
            )
    default = top.loggers.get(loggers.DEFAULT)
    if (
        default is not None
        and loggers.says_where(default)
        and top.access_log is not None
        and top.access_log.written("path") is not None
    ):
        words = "`path` is for requests that no service took: those of services go where logger `service_default` says"
        yield ("access_log", "path"), False, words


def _of_protocols(top: Settings, services: Sequence[tuple[Path, ServiceSettings]], rule: Rule) -> Iterator[Complaint]:
    """Names of ALPN that no connection can be served with, each once, at its first place."""
    said: set[str] = set()
    for path, service in services:
        settings, here = (top.tls, ("tls",)) if service.tls is None else (service.tls, (*path, "tls"))
        if settings is None or not rule.tls(service):
            continue
        for index, name in enumerate(settings.next_protos):
            if name in said:
                continue
            if name == "h2" or name.startswith("http/1."):
                continue
            said.add(name)
            words = f"Terraster does not speak {name}: a client that chooses it is served as one that speaks HTTP/1.1"
            yield (*here, "next_protos", index), False, f"`next_protos`: {words}"


def _reaches(url: Url, address: str) -> bool:
    """True if a listening address on the same port is the one that a backend's URL leads to."""
    if url.socket:
        return address == f"unix:{url.socket}"
    host, listened = url.host, address.rpartition(":")[0].strip("[]")
    loopback = host == "localhost" or host == "::1" or host.startswith("127.")
    return host == listened or (loopback and (listened in ("", "0.0.0.0", "::") or (host == "localhost" and is_loopback(address))))


def canonical(path: str) -> str:
    """A path with dot segments and needless percent-encoding resolved, as requests' paths are before they are matched."""
    result: list[str] = []
    segments = _decoded(path).split("/")[1:]
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == "..":
            if result:
                result.pop()
        elif segment != ".":
            result.append(segment)
            continue
        if last:
            result.append("")
    return "/" + "/".join(result)


def _decoded(path: str) -> str:
    parts = path.split("%")
    result = [parts[0]]
    for part in parts[1:]:
        octet = chr(int(part[:2], 16))
        plain = octet.isascii() and (octet.isalnum() or octet in "-._~")
        result.append(octet + part[2:] if plain else f"%{part[:2].upper()}{part[2:]}")
    return "".join(result)
