"""Tab completion: command names ourselves, everything after `generate` by Hydra."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def complete(arguments: list[str], commands: Sequence[str]) -> int:
    """Answer `confiner -sc query=SHELL` (with COMP_LINE set by the shell), `install=SHELL` and `uninstall=SHELL`."""
    if arguments and arguments[0].startswith("query="):
        line = os.environ.get("COMP_LINE", "")
        words = line.split()
        if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
            typed = words[1] if len(words) == 2 else ""
            print("\n".join(name for name in commands if name.startswith(typed)))
            return 0
        if words[1] != "generate":
            return 0
        os.environ["COMP_LINE"] = line.replace(f" {words[1]}", "", 1)
    return _hydra(arguments)


def _hydra(arguments: list[str]) -> int:
    import hydra

    from confiner_cli.config import config_dir, register

    register()
    sys.argv = ["confiner", "--shell-completion", *arguments]
    hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="generate")(lambda config: None)()
    return 0
