"""What several commands take: overrides, and flags wherever they stand among them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import NoReturn

from confiner_cli.config.places import ConfigSource, config_source
from confiner_cli.errors import ConfinerError

CONFIG_FLAGS = {"--config-dir": "-cd", "--config-name": "-cn"}
CONFIG_HELP = """\
  --config-dir FOLDER  configs of your own beside confiner's (-cd)
  --config-name NAME   the one of them to begin with (-cn)
"""


class Parser(ArgumentParser):
    """Words and the flags of configs; a line that cannot be read is a ConfinerError."""

    def __init__(self, command: str, words: str = "overrides") -> None:
        """Take the words under the name `words`."""
        super().__init__(prog=f"confiner {command}", add_help=False)
        self.add_argument(words, nargs="*")
        for flag, short in CONFIG_FLAGS.items():
            self.add_argument(flag, short)

    def read(self, arguments: list[str]) -> Namespace:
        """Part words and flags (`a=1 -m b=2`)."""
        return self.parse_intermixed_args(arguments)

    def error(self, message: str) -> NoReturn:
        """Argparse would print its usage."""
        raise ConfinerError(message, f"{self.prog} --help")


def source_of(options: Namespace) -> ConfigSource:
    """The YAML files that the flags name. Raises as `config_source`."""
    return config_source(options.config_dir, options.config_name)
