"""`terrasterctl completion bash|zsh|fish`: a script that completes its command lines and those of `terraster`, for the shell to read.

    source <(terrasterctl completion bash)

The script asks terrasterctl itself (`completion words …`), so it is right for each version: commands, options and choices come from the parser,
names of services, backends and users from the running Terraster, if it answers within a second.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from . import others
from .control import DONE, Away, Control, Refused

__all__ = [
    "ASKED",
    "ASKED_FOR_TERRASTER",
    "DIRECTORIES",
    "FILES",
    "add_command",
    "answer",
    "answer_for_terraster",
    "candidates",
    "completion",
]

FILES, DIRECTORIES = ":files", ":directories"
"""In place of candidates: the shell completes names of files."""

Names = Callable[[str, str], list[str]]
"""The names of "services", of "backends" (of a service, "": all) or of "users"."""

ASKED = ("completion", "words", "--")
"""The command line of a script that asks for words begins so."""

ASKED_FOR_TERRASTER = ("completion", "terraster", "--")
"""The same for words of `terraster`."""

_WORD = re.compile(r"[\w@+:./\[][\w@%+=:,./\[\]-]*")
_SECONDS = 1.0
_MOST = 500

_BASH = r"""# terrasterctl completion bash
_terrasterctl() {
    local line=${COMP_LINE:0:COMP_POINT} current="" IFS=$' \t\n' found
    local -a words
    read -r -a words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]}-1]}
    local asked=words
    [[ ${words[0]##*/} == terraster ]] && asked=terraster
    found=$(terrasterctl completion $asked -- "${words[@]:1}" 2>/dev/null)
    COMPREPLY=()
    case $found in
        :files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        :directories) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
    esac
    local one word
    while IFS=$'\t' read -r word one; do
        [[ -n $word && $word == "$current"* ]] && COMPREPLY+=("$word")
    done <<< "$found"
    if [[ $COMP_WORDBREAKS == *:* && $current == *:* ]]; then  # bash takes what is behind the last colon for the word
        local before=${current%"${current##*:}"} at
        for at in "${!COMPREPLY[@]}"; do COMPREPLY[at]=${COMPREPLY[at]#"$before"}; done
    fi
}
complete -F _terrasterctl terrasterctl terraster
"""

_ZSH = r"""#compdef terrasterctl terraster
# terrasterctl completion zsh
_terrasterctl() {
    local found line asked=words
    local -a shown
    [[ ${words[1]:t} == terraster ]] && asked=terraster
    found=$(terrasterctl completion $asked -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    case $found in
        :files) _files; return ;;
        :directories) _files -/; return ;;
    esac
    for line in ${(f)found}; do
        shown+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    _describe -t words terrasterctl shown
}
if [[ ${funcstack[1]} == _terrasterctl ]]; then _terrasterctl "$@"; else compdef _terrasterctl terrasterctl terraster; fi
"""

_FISH = r"""# terrasterctl completion fish
function __terrasterctl_words
    set -l words (commandline -opc) (commandline -ct)
    set -l asked words
    string match -qr '(^|/)terraster$' -- $words[1]; and set asked terraster
    set -l found (terrasterctl completion $asked -- $words[2..-1] 2>/dev/null)
    switch "$found"
        case ':files'
            __fish_complete_path (commandline -ct)
        case ':directories'
            __fish_complete_directories (commandline -ct)
        case '*'
            printf '%s\n' $found
    end
end
complete -c terrasterctl -f -a '(__terrasterctl_words)'
complete -c terraster -f -a '(__terrasterctl_words)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    command = commands.add_parser("completion", parents=[shared], help="print a script that completes command lines in a shell")
    command.add_argument("shell", metavar="bash|zsh|fish", choices=tuple(_SCRIPTS), help="the shell")


def completion(control: Control, arguments: argparse.Namespace) -> int:
    """The command `completion`."""
    print(_SCRIPTS[arguments.shell], end="")
    return DONE


def answer(parser: argparse.ArgumentParser, control: Callable[[argparse.Namespace], Control], words: Sequence[str]) -> int:
    """Answer a script: `completion words -- …`, with the words up to the cursor. control: finds the Terraster that a command line means"""
    asked = _Asked(parser, control, words[:-1])
    for word, text in candidates(parser, words or [""], asked.names):
        print(f"{word}\t{text}" if text else word)
    return DONE


def answer_for_terraster(words: Sequence[str]) -> int:
    """Answer a script that completes a command line of `terraster`. No names are asked for, because no option has one."""
    from .main import terraster_parser

    first, *rest = words or [""]
    if rest and first in others.OTHERS:
        parser, words = others.parser(first), rest
    else:
        parser = terraster_parser()
        if not rest and not first.startswith("-"):
            print("\n".join(f"{name}\t{text}" for name, text in others.OTHERS.items()))
    for word, text in candidates(parser, words or [""], _no_names):
        print(f"{word}\t{text}" if text else word)
    return DONE


def _no_names(kind: str, service: str) -> list[str]:
    return []


def candidates(parser: argparse.ArgumentParser, words: Sequence[str], names: Names) -> Iterator[tuple[str, str]]:
    """The words that may be in place of the last of ``words``, which has been begun, each with its help. words: without the name of the
    command"""
    *before, current = words
    place = _Place(parser)
    for word in before:
        place.go(word)
    if place.wants is not None:
        yield from _values(place.wants, place.given, names)
    elif current.startswith("-"):
        yield from place.options()
    elif (action := place.positional()) is not None:
        yield from _values(action, place.given, names)


class _Place:
    """Where a command line has come to. wants: the option whose value comes next; given: the positional words of the last command"""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser
        self.wants: argparse.Action | None = None
        self.given: list[str] = []
        self._only_words = False

    def go(self, word: str) -> None:
        if self.wants is not None:
            self.wants = None
        elif word == "--":
            self._only_words = True
        elif word.startswith("-") and len(word) > 1 and not self._only_words:
            option = self._parser._option_string_actions.get(word)
            self.wants = option if option is not None and option.nargs != 0 else None
        else:
            action = self.positional()
            if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                self._parser, self.given = action.choices[word], []
            else:
                self.given.append(word)

    def positional(self) -> argparse.Action | None:
        """The action whose value comes next, None if there is none."""
        actions = [one for one in self._parser._actions if not one.option_strings and one.help != argparse.SUPPRESS]
        at = min(len(self.given), len(actions) - 1)
        if at < 0 or (at < len(self.given) and actions[at].nargs not in ("+", "*")):
            return None
        return actions[at]

    def options(self) -> Iterator[tuple[str, str]]:
        for action in self._parser._actions:
            if action.help != argparse.SUPPRESS:
                for name in action.option_strings:
                    if name.startswith("--"):
                        yield name, _short(action.help)


def _values(action: argparse.Action, given: Sequence[str], names: Names) -> Iterator[tuple[str, str]]:
    if isinstance(action, argparse._SubParsersAction):
        helps = {action.choices[one.dest]: one.help for one in action._choices_actions}
        yield from ((name, _short(helps.get(made))) for name, made in action.choices.items())
        return
    if action.choices:
        yield from ((str(one), "") for one in action.choices if one)
        return
    metavar = str(action.metavar or "")
    if metavar == "FILE":
        yield FILES, ""
    elif metavar == "DIR":
        yield DIRECTORIES, ""
    elif metavar.startswith("SERVICE"):
        yield from ((name, "") for name in _plain(names("services", "")))
    elif metavar == "URL" and action.dest == "url":
        yield from ((name, "") for name in _plain(names("backends", given[0] if given else "")))
    elif metavar == "NAME" and action.dest == "name":
        yield from ((name, "") for name in _plain(names("users", "")))


def _plain(names: Sequence[str]) -> Iterator[str]:
    """Those that mean nothing to a shell: bash does not quote what it completes, and would run `$(…)` in the name of a service."""
    return (one for one in names if _WORD.fullmatch(one))


def _short(text: str | None) -> str:
    return (text or "").partition(";")[0].partition(" (")[0]


class _Asked:
    """Names from the running Terraster. Where there is none, or it takes too long, there are none."""

    def __init__(
        self, parser: argparse.ArgumentParser, control: Callable[[argparse.Namespace], Control], words: Sequence[str]
    ) -> None:
        self._control = control
        self._given = argparse.Namespace(config=None, runtime_dir=None, remote="", ca_file="", timeout=_SECONDS)
        for name, word in zip(words, words[1:], strict=False):
            action = parser._option_string_actions.get(name)
            if action is not None and action.dest in ("config", "runtime_dir", "remote", "ca_file"):
                setattr(self._given, action.dest, word)

    def names(self, kind: str, service: str) -> list[str]:
        name, _, path = service.partition("/")
        query = {"limit": str(_MOST)} | ({"service_name": name} if name else {}) | ({"path": f"/{path}"} if path else {})
        path, key = {
            "services": ("/api/services", "name"),
            "backends": ("/api/backends", "url"),
            "users": ("/api/auth/users", "name"),
        }[kind]
        try:
            status, value = self._control(self._given).exchange("GET", f"{path}?{urlencode(query)}", None, {})
        except (Away, Refused, OSError):
            return []
        found = [str(one[key]) for one in value["items"]] if status == 200 else []
        return list(dict.fromkeys(found))
