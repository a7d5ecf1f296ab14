"""What loading the networks of a Wan folder takes: `python scripts/bench_loading.py FOLDER`.

    python scripts/make_wan.py big                # random weights as they are published: 18 GB
    python scripts/bench_loading.py big --dtype bf16

Each network is loaded alone, in a process of its own, through the code that a run uses. A line says
the seconds, the most memory of the process' own (RssAnon, which only swap can free) and the most in
all (VmHWM, which counts pages of files that are mapped), torch and diffusers included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from machine import machine

KINDS = ("transformer", "vae", "text_encoder")
GB = 1e9


def main() -> None:
    """Print a table."""
    options = _options()
    if options.part:
        print(_loaded(options.folder, options.part, options.dtype))
        return
    print(machine())
    print(
        f"\n| network, {options.dtype} | seconds | own memory, GB | in all, GB |\n|---|---|---|---|"
    )
    for part in options.parts:
        command = [sys.executable, __file__, options.folder, "--part", part]
        subprocess.run([*command, "--dtype", options.dtype], check=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of scripts/make_wan.py")
    parser.add_argument("--dtype", default="bf16", help="fp32, bf16 or fp16")
    parser.add_argument("--parts", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--part", choices=KINDS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _loaded(folder: Path, part: str, dtype: str) -> str:
    """Load one network here, and say what it took."""
    import torch

    from confiner_cli.experts.components import Components
    from confiner_cli.experts.device import dtype_of

    kind, cpu = _kind(part), torch.device("cpu")
    components = Components("temporal", (folder,), cpu, dtype_of(dtype, cpu), network=part)
    own = _Highest()
    started = perf_counter()
    with own:
        network = components.model(part, kind)
    seconds = perf_counter() - started
    assert next(network.parameters()) is not None
    return f"| {part} | {seconds:.1f} | {own.bytes / GB:.2f} | {_status('VmHWM') / GB:.2f} |"


def _kind(part: str) -> Any:
    if part == "transformer":
        from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

        return WanTransformer3DModel
    if part == "vae":
        from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

        return AutoencoderKLWan
    from confiner_cli.experts.networks.umt5 import UMT5TextModel

    return UMT5TextModel


class _Highest:
    """The most of the process' own memory in the body, looked at a hundred times a second."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._watching.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watching.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self.bytes = max(self.bytes, _status("RssAnon"))
            sleep(0.01)


def _status(name: str) -> int:
    """Bytes that Linux says of this process."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
