"""The manual pages of the commands in roff (man(7)), made from their parsers. Pure. `make docs` writes them into docs/man."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

__all__ = ["page"]


def page(parser: argparse.ArgumentParser, name: str, version: str, files: tuple[tuple[str, str], ...], also: str) -> str:
    """The page of a command. name: in one line, what it is for; files: names and what they are; also: other pages"""
    title = parser.prog.replace(" ", "-")
    lines = [
        f'.TH {title.upper()} 1 "" "Terraster {version}" "Terraster"',
        ".SH NAME",
        f"{_plain(title)} \\- {_plain(name)}",
        ".SH SYNOPSIS",
        f".B {parser.prog}",
        _plain(_usage(parser)),
        ".SH DESCRIPTION",
        _plain(parser.description or ""),
    ]
    if commands := list(_commands(parser, ())):
        lines.append(".SH COMMANDS")
        for words, command, text in commands:
            lines += [".TP", rf"\fB{_plain(' '.join(words))}\fR {_plain(_usage(command, shared=parser))}".rstrip(), _sentence(text)]
            for one in _options(command, parser):
                lines += [".RS", ".TP", _spelling(one), _sentence(one.help or ""), ".RE"]
    lines.append(".SH OPTIONS")
    for one in _options(parser):
        lines += [".TP", _spelling(one), _sentence(one.help or "")]
    codes, _, others = (parser.epilog or "").partition("\nsignals:")
    lines += [".SH EXIT STATUS", *_codes(codes)]
    if others:
        signals, _, _ = others.partition("\nsee also:")
        lines += [".SH SIGNALS", _sentence(" ".join(signals.split()))]
    lines += [".SH FILES"] if files else []
    for file, text in files:
        lines += [".TP", rf"\fI{_plain(file)}\fR", _sentence(text)]
    lines += [".SH SEE ALSO", _plain(also)]
    return "\n".join(line for line in lines if line) + "\n"


def _commands(
    parser: argparse.ArgumentParser, before: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser, str]]:
    """The commands that do something, in their order, with their help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action._choices_actions:
                words, inner = (*before, one.dest), action.choices[one.dest]
                below = list(_commands(inner, words))
                if not below or not any(isinstance(it, argparse._SubParsersAction) and it.required for it in inner._actions):
                    others = [word for word, made in action.choices.items() if made is inner and word != one.dest]
                    yield words, inner, (one.help or "") + (f" (also: {', '.join(others)})" if others else "")
                yield from below


def _options(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser | None = None) -> Iterator[argparse.Action]:
    """The options that `--help` lists, without those that the command line has for all commands."""
    general = set(shared._option_string_actions) if shared is not None else set()
    for action in parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS and not general & set(action.option_strings):
            yield action


def _usage(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser | None = None) -> str:
    words = ["[OPTION ...]"] if any(_options(parser, shared)) else []
    for action in parser._actions:
        if action.option_strings or action.help == argparse.SUPPRESS:
            continue
        name = str(action.metavar or action.dest)
        if isinstance(action, argparse._SubParsersAction):
            words.append(name if action.required else f"[{name}]")
        else:
            words.append({"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}.get(str(action.nargs), name))
    return " ".join(words)


def _spelling(action: argparse.Action) -> str:
    names = ", ".join(rf"\fB{_plain(one)}\fR" for one in action.option_strings if one.startswith("--") or len(one) == 2)
    if action.nargs == 0:
        return names
    value = str(action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper())
    return rf"{names} \fI{_plain(value)}\fR"


def _codes(text: str) -> Iterator[str]:
    for one in " ".join(text.split()).removeprefix("exit codes: ").split("; "):
        code, _, words = one.partition(" ")
        yield from (".TP", _plain(code), _sentence(words))


def _sentence(text: str) -> str:
    text = _plain(text[:1].upper() + text[1:])
    return text if not text or text.endswith(".") else f"{text}."


def _plain(text: str) -> str:
    """Text as roff shows it: hyphens and backslashes escaped, no line that begins with a control character."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "\\[u2026]").replace("`", "\\(ga")
    return f"\\&{text}" if text[:1] in (".", "'") else text
