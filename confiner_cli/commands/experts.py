"""`confiner experts`: the sets there are, their pipeline folders, and checkpoints in a safer format."""

from __future__ import annotations

from pathlib import Path

from confiner_cli.errors import ConfinerError

HELP = """\
usage: confiner experts                   list the sets of experts
       confiner experts export SET DIR    write DIR/control, DIR/spatial and DIR/temporal: pipeline folders that
                                          diffusers' AnimateDiffPipeline, StableDiffusionPipeline and
                                          TextToVideoSDPipeline load with from_pretrained
       confiner experts convert FILE      write LaVie's checkpoint, a .pt, as .safetensors beside it, which is
                                          preferred from then on
"""


def main(arguments: list[str]) -> int:
    """List, export or convert."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP, end="")
        return 0
    if not arguments:
        return _list()
    if arguments[0] == "export" and len(arguments) == 3:
        from confiner_cli.export import export

        for folder in export(arguments[1], Path(arguments[2]).expanduser().absolute()):
            print(folder)
        return 0
    if arguments[0] == "convert" and len(arguments) == 2:
        from confiner_cli.experts.lavie_checkpoint import convert

        source = Path(arguments[1]).expanduser().absolute()
        convert(source, source.with_suffix(".safetensors"))
        print(source.with_suffix(".safetensors"))
        return 0
    raise ConfinerError(f"cannot read: experts {' '.join(arguments)}", "confiner experts export tiny DIR")


def _list() -> int:
    import yaml

    from confiner_cli.config import config_dir

    for path in sorted((config_dir() / "experts").glob("*.yaml")):
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
        size = f"{node['height']}x{node['width']}, {node['num_frames']} frames, {node['fps']} fps"
        print(f"{path.stem:<16}{node['description']}\n{'':<16}{size}")
        for role in ("control", "spatial", "temporal"):
            print(f"{'':<16}{role:<9} {node[role]['family']}, {node[role]['model']}")
    return 0
