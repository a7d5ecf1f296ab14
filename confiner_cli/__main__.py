"""`python -m confiner_cli` is `confiner`."""

from confiner_cli.cli import entry

entry()
