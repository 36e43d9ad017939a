"""The flags of a verb: how they are read, their help, and the mistakes in them.

In: the dataclass of a verb and the words of a command. Out: an object of the dataclass, or the
text of `--help`. Imports are few, so that a mistake is answered at once.
"""

import argparse
import contextlib
import dataclasses
import math
import re
import shutil
import types
import typing
from collections.abc import Iterable, Sequence

from applications.settings import GROUPS, Settings
from tfmodels.errors import InputError

POSITIONAL = ("url", "text", "directory", "directories")  # given without a name
# Type: its name in the help and in messages.
TYPES = {
    str: ("TEXT", "a text"), int: ("INT", "a whole number"), float: ("NUMBER", "a number"),
    bool: ("BOOL", "true or false"), list: ("LIST", "a list such as '[a, b]'"),
    dict: ("JSON", "an object such as '{\"seed\": 1}'"),
}  # fmt: skip
PATHS = {"dir": "DIR", "file": "FILE", "files": "FILES"}


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise InputError(f"{re.search('--[a-z_]+', message)[0]}: give a value")


def read(kind: type[Settings], words: Sequence[str], command: str) -> Settings:
    """Return an object of a dataclass with the settings of a command line.

    Args:
        kind: dataclass of the verb.
        words: flags and values after the verb.
        command: `tfmodels APPLICATION VERB`, for messages.

    Raises:
        InputError: a flag is unknown, missing, of another type, out of range or without effect.
    """
    end = words.index("--") if "--" in words else len(words)
    given, unknown = _parser(kind, command, GROUPS).parse_known_intermixed_args(
        [_underscored(word) for word in words[:end]]
    )
    given, texts, fields = vars(given), words[end + 1 :], _fields(kind)
    if unknown and unknown[0].startswith("-"):
        name, known = unknown[0].partition("=")[0], ["--config", *map(_named, fields)]
        raise unknown_name("flag", name, known, f"see {command} --help-all")
    if "text" in fields:
        given["text"] = [*given.get("text", ()), *texts]
    elif unknown or texts:
        word = [*unknown, *texts][0]
        raise InputError(f"{word}: no flag before it; put values with spaces or * in quotes")
    in_files: dict = {}
    for file in given.pop("config", ()):
        in_files |= _settings_in(file, kind)
    return settings_of(kind, in_files | given, command)


def settings_of(kind: type[Settings], given: dict, command: str) -> Settings:
    """Return an object of a dataclass with settings as a file has them: str, lists and dicts."""
    values, fields = _values(kind, given), _fields(kind).items()
    missing = [_named(name) for name, field in fields if _is_required(field) and name not in given]
    if missing:
        raise InputError(f"{', '.join(missing)}: missing; see {command} --help")
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(as_flag(str(error), values)) from error


def as_flag(message: str, names: Iterable[str]) -> str:
    """Return a message that begins with an argument's name with the name of its flag."""
    name, *rest = message.split(" ", 1)
    return f"--{message}" if rest and name.rstrip(":") in {*names} - {*POSITIONAL} else message


def unknown_name(kind: str, given: str, known: Iterable[str], otherwise: str) -> InputError:
    """Return the error about a name that does not exist, with the nearest one that does."""
    import difflib

    known = list(known)
    near = difflib.get_close_matches(given, known, 1, 0.7)
    near += [name for name in known if "--" + "".join(re.findall(r"[-_](\w)", name)) == given]
    remedy = f"did you mean {near[0]}?" if near else otherwise
    return InputError(f"{given}: unknown {kind}; {remedy}")


def help_of(kind: type[Settings], command: str, everything: bool) -> str:
    """Return the help of a verb; without `everything`, only the names of rarely used flags."""
    import textwrap

    *usual, rarely = GROUPS
    parser = _parser(kind, command, GROUPS if everything else usual)
    fields = _fields(kind).items()
    rare = [_named(name) for name, field in fields if field.metadata["group"] == rarely]
    if rare and not everything:
        names = f"{rarely}, explained by --help-all: {' '.join(rare)}"
        parser.epilog = textwrap.fill(names, _width(), break_on_hyphens=False)
    return parser.format_help().rstrip().replace("\xa0", " ")  # see `_help`


def _width():
    return min(shutil.get_terminal_size((100, 24)).columns, 100)


def _parser(kind, command, groups):
    """Return the parser of the flags of these groups, with their help."""
    parser = _Parser(
        usage=argparse.SUPPRESS, argument_default=argparse.SUPPRESS,
        description=f"{kind.__doc__.splitlines()[0]}\n\nExample:\n  {kind.EXAMPLE.format(command)}",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, 2, 31, _width()),
        add_help=False, allow_abbrev=False,
    )  # fmt: skip
    fields = sorted(_fields(kind).values(), key=lambda field: not _is_required(field))
    for title in groups:
        group = parser.add_argument_group(title)
        for field in fields:
            if field.metadata["group"] == title:
                name, more = f"--{field.name}", {"metavar": _named_type(field)[0]}
                if field.name in POSITIONAL:
                    name, nargs = field.name, "*" if _is_list(field) else "?"
                    more = {"metavar": name.upper(), "nargs": nargs}
                group.add_argument(name, help=_help(field), **more)
    parser.add_argument_group("Other").add_argument(
        "--config", action="append", metavar="FILE",
        help="YAML file of settings; flags given beside it replace them",
    )  # fmt: skip
    return parser


def _fields(kind):
    """Return `{name: field}`; a field that is only another default has its parent's text."""
    metadata = {}
    for base in reversed(kind.__mro__):
        for name, field in vars(base).get("__dataclass_fields__", {}).items():
            metadata[name] = field.metadata = field.metadata or metadata[name]
    return {field.name: field for field in dataclasses.fields(kind)}


def _is_list(field):
    return typing.get_origin(field.type) is list


def _is_required(field):
    return field.default is field.default_factory is dataclasses.MISSING


def _named(name):
    return name.upper() if name in POSITIONAL else f"--{name}"


def _underscored(word):
    flag, equals, value = word.partition("=")
    return f"--{flag[2:].replace('-', '_')}{equals}{value}" if word.startswith("--") else word


def _types(field):
    """Return the types of a field, without None."""
    if typing.get_origin(field.type) not in (typing.Union, types.UnionType):
        return [field.type]
    return [kind for kind in typing.get_args(field.type) if kind is not type(None)]


def _named_type(field):
    """Return the name of the type of a field in the help, and in messages."""
    kind = _types(field)[0]
    if typing.get_origin(kind) is typing.Literal:
        *names, last = typing.get_args(kind)
        return "NAME", f"{', '.join(names)} or {last}"
    name, wanted = TYPES[typing.get_origin(kind) or kind]
    return PATHS.get(field.name.rpartition("_")[2], name), wanted


def _help(field):
    """Return the text about a field, its choices and default, which is not to be broken."""
    name, choices = _named_type(field)
    text = ": ".join(filter(None, [field.metadata["help"], choices if name == "NAME" else ""]))
    value = str(field.default).lower() if isinstance(field.default, bool) else field.default
    if _is_required(field):
        text += " (required)"
    elif value not in (None, "", dataclasses.MISSING):
        text += f" (default:\xa0{value if str(value).isprintable() else repr(value)})"
    return text.replace("%", "%%")


def _values(kind, given):
    """Return the values of settings that are texts, or lists and dicts of these."""
    fields = _fields(kind)
    for name in given:
        if name not in fields:
            raise unknown_name("setting", name, fields, f"give one of {', '.join(fields)}")
    return {name: _value(fields[name], value) for name, value in given.items()}


def _settings_in(file, kind):
    """Return the settings in a YAML file."""
    try:
        with open(file, encoding="utf-8") as stream:
            given = _loaded(stream.read())
        if not isinstance(given, dict):
            raise ValueError("no settings")
        _values(kind, given)  # refuses values of other types
        return given
    except InputError as error:
        raise InputError(f"--config {file}: {error}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--config {file}: {reason}; give lines of `name: value`") from error


def _loaded(text):
    """Return the content of a YAML text: str, lists and dicts; raise ValueError if it has none."""
    import yaml

    try:
        return yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _value(field, given):
    """Return the value of a field that a text, or a list or dict of texts, stands for."""
    if given == "null" and type(None) in typing.get_args(field.type):
        return None
    for kind in reversed(_types(field)):  # a text is tried last
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return _converted(kind, given)
    raise InputError(f"{_named(field.name)} {given}: give {_named_type(field)[1]}")


def _converted(kind, given):
    """Return a value in a type; raise ValueError, TypeError or KeyError where it has another."""
    origin = typing.get_origin(kind) or kind
    if origin in (list, dict):
        if isinstance(given, str) and given.startswith(("[", "{")):
            given = _loaded(given)
        if not isinstance(given, origin):
            raise TypeError
        part_type = (typing.get_args(kind) or (str,))[0]
        return [_converted(part_type, part) for part in given] if origin is list else given
    if not isinstance(given, str) or kind is float and not math.isfinite(float(given)):
        raise TypeError
    if kind is bool:
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        return words[given.lower()]
    if origin is typing.Literal:
        return {name: name for name in typing.get_args(kind)}[given]
    return kind(given)
