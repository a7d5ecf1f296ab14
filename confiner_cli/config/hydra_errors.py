"""What Hydra, OmegaConf and YAML say of a config: as two lines, with the file or the key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from confiner_cli.config.bounds import did_you_mean
from confiner_cli.config.overrides import GROUPS, known_keys
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError

HINT = "confiner generate --cfg job prints all settings and their values"
_IN_FILE = re.compile(r"In '(?P<file>[^']+)': (?:\w+ raised while composing config:\n)?")
_FULL_KEY = re.compile(r"full_key: (\S+)")
_NO_KEY = re.compile(r"Key '.+' (not in|is not in struct)")
_APPEND = re.compile(r"To append to your default list use (\S+)")
_NO_OVERRIDE = re.compile(r"Could not override '(?P<group>[^']+)'\. No match in the defaults list")
_MULTIPLE = re.compile(r"Multiple values for (?P<group>\S+)\. .*'override \S+: (?P<name>[^']+)'")


@contextmanager
def readable_errors() -> Iterator[None]:
    """Raise what is wrong with a config as a ConfinerError."""
    try:
        yield
    except RecursionError as error:
        raise ConfinerError(
            "the defaults list of a config leads back to itself",
            "look at defaults: in the configs that you name",
        ) from error
    except yaml.YAMLError as error:
        raise _no_yaml(error) from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise _translated(error) from error
    except (AssertionError, AttributeError) as error:
        if "NoneType" not in str(error):
            raise
        # All that OmegaConf says where a key is set below a node that is null: a role that is
        # absent, since nothing else may be.
        raise ConfinerError(
            "a setting of an expert is set, and the set has no expert in its role",
            "experts/control=, experts/spatial= or experts/temporal= names one",
        ) from error


def _translated(error: Exception) -> ConfinerError:
    if isinstance(error, MissingConfigException):
        return _missing_config(error)
    if isinstance(error, OverrideParseException):
        return _no_override(error)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = str(cause)
    place = _IN_FILE.match(text)
    file = place["file"] if place else ""
    said = text[place.end() :] if place else text
    key = _FULL_KEY.search(text)
    if key:
        return _of_key(_dotted(key[1]), said, file)
    return _of_defaults(said, file)


def _no_yaml(error: yaml.YAMLError) -> ConfinerError:
    mark = getattr(error, "problem_mark", None)
    if mark is None:  # a character that YAML does not allow
        return ConfinerError(" ".join(str(error).split()), "remove it: YAML is plain text")
    problem = getattr(error, "problem", "no YAML")
    return ConfinerError(
        f"{mark.name}, line {mark.line + 1}: {problem}", "mend the YAML there, or just above"
    )


def _missing_config(error: MissingConfigException) -> ConfinerError:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    if error.options:
        options = [option for option in error.options if not option.startswith("_")]
        return ConfinerError(
            f"{group}={name} is unknown",
            f"{did_you_mean(name, options)}{group}= takes {', '.join(options)}",
        )
    place = _IN_FILE.match(str(error))
    return ConfinerError(
        f"there is no group {group!r}{_of_file(place['file'] if place else '')}",
        f"{did_you_mean(group, GROUPS)}groups are {', '.join(GROUPS)}",
    )


def _no_override(error: OverrideParseException) -> ConfinerError:
    word = getattr(error, "override", "") or "an override"
    return ConfinerError(
        f"{word}: Hydra cannot read this value",
        "text with other signs than letters goes in quotes: key='\"a (b)\"'",
    )


def _of_key(key: str, said: str, file: str) -> ConfinerError:
    """What is wrong with one key's value, or with there being such a key."""
    if _NO_KEY.match(said):
        return _unknown_key(key, file)
    if "has missing mandatory value" in said:
        return ConfinerError(
            f"{key} is not stated{_of_file(file)}",
            "state it in your config (docs/experts.md has the form), or inherit one that does",
        )
    if said.startswith("list index out of range"):
        return ConfinerError(
            f"there is no {key}: entries are counted from 0",
            f"state the whole list: {re.split(r'[.][0-9]+', key)[0]}=[...]",
        )
    return ConfinerError(f"{key}: {_first_line(said)}{_of_file(file)}", HINT)


def _unknown_key(key: str, file: str) -> ConfinerError:
    message = f"there is no setting {key!r}{_of_file(file)}"
    known = known_keys(Settings)
    if file and key == file.partition("/")[0]:
        return ConfinerError(message, _header(file))
    parent, _, last = key.rpartition(".")
    if last.isdecimal():
        return ConfinerError(f"{parent} is no list: there is no {key}", f"{parent}=[...]")
    return ConfinerError(message, f"{did_you_mean(key, known)}{HINT}")


def _of_defaults(said: str, file: str) -> ConfinerError:
    """What is wrong with the choice of groups, or with the whole."""
    line = f"{_first_line(said)}{_of_file(file)}"
    if line.startswith("Ambiguous value"):
        return ConfinerError(
            line, "add -m to try one value after another; a list is written key=[1,2]"
        )
    if file and f"@{file.partition('/')[0]}." in line:
        return ConfinerError(line, _header(file))
    if "Could not override 'scheduler'" in line:
        return ConfinerError(line, "list scheduler: before experts:, or inherit generate")
    append, missing, multiple = (
        pattern.search(said) for pattern in (_APPEND, _NO_OVERRIDE, _MULTIPLE)
    )
    if append:
        return ConfinerError(f"{_first_line(append[1])[1:]} is in no defaults list", append[1])
    if missing:
        near = did_you_mean(missing["group"], GROUPS)
        return ConfinerError(line, f"{near}groups are {', '.join(GROUPS)}")
    if multiple:
        group, name = multiple["group"], multiple["name"]
        return ConfinerError(
            f"{group} has a choice already{_of_file(file)}",
            f"{group}={name} without +; in a defaults list: override /{group}: {name}",
        )
    return ConfinerError(line, HINT)


def _header(file: str) -> str:
    return f"{file}.yaml must begin with the line: # @package _global_ (no byte order mark)"


def _dotted(key: str) -> str:
    """`loras[0].scale` as it is typed: `loras.0.scale`."""
    return re.sub(r"\[(\d+)\]", r".\1", key)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "it cannot be read")


def _of_file(file: str) -> str:
    return f" (in {file}.yaml)" if file else ""
