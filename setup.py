"""Compiles the rooms of the request path. All else about the package is in setup.cfg.

A room is compiled if a `.pyx` has its name, or if a `.pxd` beside its `.py` types it. All of them are compiled or none: compiled rooms
share C structures, and where one of them is missing the others may read its fields from the wrong places. So a build that goes on without
the compiler removes what an earlier one left beside the sources.

    TERRASTER_COMPILE=try        compile if that can be done, else say once that it cannot, and go on (the default)
    TERRASTER_COMPILE=require    fail if it cannot be done
    TERRASTER_COMPILE=no         look for neither Cython nor a compiler

`CFLAGS` of the environment come after the flags below, so they win.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from distutils.ccompiler import new_compiler
from distutils.sysconfig import customize_compiler
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODES = ("try", "require", "no")
COMMANDS = {"build", "build_ext", "bdist_wheel", "editable_wheel", "install", "develop"}
"""Those that compile. For the others, such as sdist, the package has no extensions."""

FLAGS = ("-O2", "-g0")
DIRECTIVES = {"language_level": 3, "annotation_typing": False, "binding": False}


def rooms(package: Path) -> list[Path]:
    """The source of each compiled room, sorted by path."""
    own = set(package.rglob("*.pyx"))
    typed = {path.with_suffix(".py") for path in package.rglob("*.pxd") if path.with_suffix(".pyx") not in own}
    return sorted(own | {path for path in typed if path.exists()})


def extensions(paths: list[Path]) -> list[Extension]:
    """The rooms, ready to be compiled. Raises an error without Cython, greenlet, or a C compiler that finds Python's headers."""
    import greenlet

    include = [os.path.dirname(greenlet.__file__)]
    probe(include)
    flags = [*FLAGS, *shlex.split(os.environ.get("CFLAGS", ""))]
    return translated(paths, include_dirs=include, extra_compile_args=flags)


def translated(paths: list[Path], **options: list[str]) -> list[Extension]:
    """The rooms as C, which is written below build/. Raises an error without Cython. options: those of Extension"""
    from Cython.Build import cythonize

    made = [Extension(".".join(path.with_suffix("").parts), [str(path)], **options) for path in paths]
    return cythonize(made, nthreads=cores(), build_dir="build/cython", compiler_directives=DIRECTIVES, quiet=True)


def probe(include: list[str]) -> None:
    """Compile a file that has only the headers, which takes less time than to find out after the rooms are C."""
    compiler = new_compiler()
    customize_compiler(compiler)
    paths = sysconfig.get_paths()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text("#include <Python.h>\n#include <greenlet.h>\n")
        compiler.compile(
            [str(source)], output_dir="/", include_dirs=[*include, paths["include"], paths["platinclude"]], extra_preargs=["-w"]
        )


class Rooms(build_ext):
    """Builds all rooms, on all cores. In the mode `try` it leaves them all out if one cannot be built."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or cores()

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            if mode() == "require":
                raise
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions = self.distribution.ext_modules = []
            go_on_without(error)


def remove_old() -> None:
    """Remove the rooms that an earlier build left beside their sources."""
    for path in Path("terraster").rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
        path.unlink()


def cores() -> int:
    return len(os.sched_getaffinity(0))


def mode() -> str:
    word = os.environ.get("TERRASTER_COMPILE", "try")
    if word not in MODES:
        raise SystemExit(f"TERRASTER_COMPILE is {word!r}, not one of: {', '.join(MODES)}")
    return word


def go_on_without(error: Exception) -> None:
    remove_old()
    print(f"Terraster is built as pure Python, which is complete but slower. The compiler's part failed: {error}", file=sys.stderr)


def main() -> None:
    made: list[Extension] = []
    builds = bool(COMMANDS.intersection(sys.argv))
    if builds:
        for old in Path("build").glob("lib*"):  # modules of an earlier build, which may be gone by now, would be installed, too
            shutil.rmtree(old)
    if builds and mode() != "no" and (paths := rooms(Path("terraster"))):
        try:
            made = extensions(paths)
        except Exception as error:  # whatever is wrong with the compiler or with Cython, the package is complete without them
            if mode() == "require":
                raise
            go_on_without(error)
    setup(ext_modules=made, cmdclass={"build_ext": Rooms})


if __name__ == "__main__":  # cythonize starts processes, which may import this file
    main()
