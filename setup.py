"""Compiles the rooms of the request path. All else about the package is in setup.cfg.

A room is compiled if a `.pyx` has its name, or if a `.pxd` beside its `.py` types it. All of them are compiled or none: compiled rooms
share C structures, and where one of them is missing the others may read its fields from the wrong places. So a build in place that goes on
without the compiler removes what an earlier one left beside the sources, and one that ends well writes a list of what it compiled, which
`terraster.extensions` compares with what it finds.

    TERRASTER_COMPILE=try        compile if that can be done, else say once that it cannot, and go on (the default)
    TERRASTER_COMPILE=require    fail if it cannot be done
    TERRASTER_COMPILE=no         look for neither Cython nor a compiler

`CFLAGS` of the environment come after the flags below, so they win.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
import sysconfig
import tempfile
from distutils.ccompiler import new_compiler
from distutils.sysconfig import customize_compiler
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

MODES = ("try", "require", "no")
COMMANDS = {"build", "build_ext", "bdist_wheel", "editable_wheel", "install", "develop"}
"""Those that compile. For the others, such as sdist, the package has no extensions."""

FLAGS = ("-O2", "-g0")
DIRECTIVES = {"language_level": 3, "annotation_typing": False, "binding": False}

ENDING = str(sysconfig.get_config_var("EXT_SUFFIX"))
PACKAGE = Path("terraster")
ELSEWHERE = None if os.access(".", os.W_OK) else tempfile.TemporaryDirectory()
BASE = Path(ELSEWHERE.name if ELSEWHERE else "build")
"""Where a build writes: `build`, or a folder that goes with this process if the source tree cannot be written."""
BUILT = BASE / f"compiled{ENDING.removesuffix('.so')}.txt"
"""What the C files and extensions below `BASE` were made of: a list of the last build that may lack sources."""

not_compiled = ""
"""Why this build goes on without the compiler."""
made_of = ""
"""The list of this build, of the sources as they were at its beginning: they may be edited meanwhile."""


def rooms(package: Path) -> list[Path]:
    """The source of each compiled room, sorted by path."""
    own = set(package.rglob("*.pyx"))
    typed = {path.with_suffix(".py") for path in package.rglob("*.pxd") if path.with_suffix(".pyx") not in own}
    return sorted(own | {path for path in typed if path.exists()})


def listed(package: Path, said: str) -> str:
    """The list of a build: how it compiled, and the SHA-256 of each source of a room, as `sha256sum` writes it."""
    sources = sorted(
        one for path in rooms(package) for ending in (".py", ".pyx", ".pxd") if (one := path.with_suffix(ending)).exists()
    )
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(package).as_posix()}" for path in sources]
    return "\n".join([said, *lines, ""])


def way() -> str:
    """How extensions are made here. Those that were made in another way do not go with them."""
    import Cython
    import greenlet

    flags = shlex.join([*FLAGS, *shlex.split(os.environ.get("CFLAGS", ""))])
    directives = " ".join(f"{name}={value}" for name, value in DIRECTIVES.items())
    return f"# Cython {Cython.__version__}, greenlet {greenlet.__version__}, {flags}, {directives}"


def list_in(package: Path) -> Path:
    return package / BUILT.name


def look_back() -> bool:
    """Have everything compiled that was not made of these sources in this way, whatever the times of the files say. True: all of it."""
    global made_of
    made_of = now = listed(PACKAGE, way())
    before = BUILT.read_text() if BUILT.exists() else ""
    same = set(now.splitlines()) & set(before.splitlines())
    BUILT.parent.mkdir(exist_ok=True)
    BUILT.write_text("\n".join(sorted(same)))  # this build may end before its time
    if way() not in same:
        return True
    for line in now.splitlines()[1:]:
        if line not in same:
            os.utime(PACKAGE / line.partition("  ")[2])
    return False


def extensions(paths: list[Path]) -> list[Extension]:
    """The rooms, ready to be compiled. Raises an error without Cython, greenlet, or a C compiler that finds Python's headers."""
    import greenlet

    include = [os.path.dirname(greenlet.__file__)]
    probe(include)
    flags = [*FLAGS, *shlex.split(os.environ.get("CFLAGS", ""))]
    return translated(paths, look_back(), include_dirs=include, extra_compile_args=flags)


def translated(paths: list[Path], afresh: bool, **options: list[str]) -> list[Extension]:
    """The rooms as C, which is written below `BASE`. Raises an error without Cython. options: those of Extension"""
    from Cython.Build import cythonize

    made = [Extension(".".join(path.with_suffix("").parts), [str(path)], **options) for path in paths]
    return cythonize(
        made, nthreads=cores(), force=afresh or None, build_dir=str(BASE / "cython"), compiler_directives=DIRECTIVES, quiet=True
    )


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
        if not self.extensions:
            return
        try:
            super().run()
        except Exception as error:
            if mode() == "require":
                raise
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions = self.distribution.ext_modules = []
            go_on_without(error)
            list_in(Path(self.build_lib) / PACKAGE).write_text(f"# not compiled: {not_compiled}\n")
            return
        for path in (BUILT, list_in(Path(self.build_lib) / PACKAGE), *([list_in(PACKAGE)] if self.inplace else [])):
            path.write_text(made_of)

    def copy_extensions_to_source(self) -> None:
        remove_old()  # a room may be gone
        super().copy_extensions_to_source()


class Sources(build_py):
    """Puts into the package why nothing of it is compiled: pip hides what a build says."""

    def run(self) -> None:
        super().run()
        if not_compiled and not self.editable_mode:
            list_in(Path(self.build_lib) / PACKAGE).write_text(f"# not compiled: {not_compiled}\n")


def remove_old() -> None:
    """Remove the rooms that an earlier build left beside their sources, and first of all its list: without it no process loads them."""
    for path in [*PACKAGE.glob(BUILT.name), *PACKAGE.rglob(f"*{ENDING}")]:
        path.unlink()


def remove_modules(folder: Path, paths: list[Path]) -> None:
    """Remove what an earlier build left below a folder, but not the extensions of rooms: modules that may be gone by now would be installed."""
    kept = {path.with_suffix(ENDING) for path in paths}
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder) not in kept:
            path.unlink()


def is_in_place() -> bool:
    """True if this build is for the tree itself, and not only for a package that is made of it."""
    return bool({"--inplace", "-i", "develop", "editable_wheel"}.intersection(sys.argv))


def cores() -> int:
    return len(os.sched_getaffinity(0))


def mode() -> str:
    word = os.environ.get("TERRASTER_COMPILE", "try")
    if word not in MODES:
        raise SystemExit(f"TERRASTER_COMPILE is {word!r}, not one of: {', '.join(MODES)}")
    return word


def go_on_without(error: Exception) -> None:
    global not_compiled
    not_compiled = " ".join(str(error).split())
    if is_in_place():
        remove_old()
        list_in(PACKAGE).write_text(f"# not compiled: {not_compiled}\n")
    print(f"Terraster is built as pure Python, which is complete but slower. The compiler's part failed: {error}", file=sys.stderr)


def main() -> None:
    made: list[Extension] = []
    builds = bool(COMMANDS.intersection(sys.argv))
    paths = rooms(PACKAGE) if builds else []
    if builds:
        for old in BASE.glob("lib*"):
            remove_modules(old, paths)
    if paths and mode() != "no":
        try:
            made = extensions(paths)
        except Exception as error:  # whatever is wrong with the compiler or with Cython, the package is complete without them
            if mode() == "require":
                raise
            go_on_without(error)
    if builds and mode() == "no" and is_in_place():
        remove_old()
    places = {"build": {"build_base": str(BASE)}, "egg_info": {"egg_base": str(BASE)}} if ELSEWHERE else {}
    setup(ext_modules=made, cmdclass={"build_ext": Rooms, "build_py": Sources}, options=places)


if __name__ == "__main__":  # cythonize starts processes, which may import this file
    main()
