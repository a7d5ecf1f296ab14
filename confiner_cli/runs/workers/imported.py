"""What a worker needs to import, imported once: the server that workers are forked from does so.

It has only imported, no network has computed in it: so on CPUs a fork of it is as good as a new
process (`experts.forking`), is there at once, and shares the pages of the libraries.
"""

from __future__ import annotations

from confiner_cli.experts.lean_imports import OWN_PROCESS, import_libraries
from confiner_cli.runs.wait_policy import wait_asleep

wait_asleep()
OWN_PROCESS.set(True)
import_libraries()

from confiner_cli.runs.workers import work  # noqa: E402, F401 - torch is imported as it should be
