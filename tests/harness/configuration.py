"""Configurations as `terraster` loads them: in the language with all kinds of filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from terraster.config import loader
from terraster.config.language import language
from terraster.config.settings import Settings
from terraster.filters.registry import KINDS

__all__ = ["LANGUAGE", "Loader", "load"]

LANGUAGE = language(KINDS)


class Loader(loader.Loader):
    """A Loader with the kinds that Terraster has."""

    def __init__(self, environ: Mapping[str, str] | None = None, pause: Callable[[], None] | None = None) -> None:
        super().__init__(environ, pause, kinds=KINDS)


def load(path: str, *, services_dir: str | None = None, api_config: str | None = None, log_configs: Sequence[str] = ()) -> Settings:
    """The settings of these files, with all kinds."""
    return Loader().load(path, services_dir=services_dir, api_config=api_config, log_configs=log_configs)
