"""Models on this machine: paths, and what huggingface_hub's cache has, found without a socket.

HF_HOME and HF_HUB_CACHE mean what they mean to huggingface_hub.
"""

from __future__ import annotations

import json
from pathlib import Path

from confiner_cli.errors import ConfinerError
from confiner_cli.weights.checksums import verify_files
from confiner_cli.weights.hub_cache import cache_folder, in_cache
from confiner_cli.weights.model_ref import PICKLES, ModelRef, Requirement, converted, present
from confiner_cli.weights.select import INDEX, is_whole, needed_files


def cached(requirement: Requirement) -> Path:
    """The folder or file of a model on this machine; opens no socket.

    Raises:
        ConfinerError: it is on the hub and not whole in the cache, or a file in the cache is
            damaged.
    """
    place = found(requirement)
    if place is None:
        raise ConfinerError(
            f"{requirement.ref} is not on this machine: it is no path, and not in the cache "
            f"{cache_folder()}",
            "`confiner experts download SET` fetches a set of experts; a local model is named by "
            "its folder or file",
        )
    if requirement.ref.path is None:
        verify_files(files_of(requirement, place))
    return place


def found(requirement: Requirement) -> Path | None:
    """As `cached`, unchecked: None where it is not all there."""
    ref = requirement.ref
    if ref.path is not None:
        return present(ref.path)
    if ref.file:
        return in_cache(ref, ref.file) or _converted_in_cache(ref)
    marker = in_cache(ref, INDEX) or in_cache(ref, "config.json")
    return marker.parent if marker and _complete(marker.parent, requirement) else None


def _converted_in_cache(ref: ModelRef) -> Path | None:
    """What stands in for a pickle that was removed after it had been converted."""
    path = Path(ref.file)
    return in_cache(ref, converted(path).as_posix()) if path.suffix in PICKLES else None


def files_of(requirement: Requirement, place: Path) -> list[Path]:
    """The files of a model that are needed, where it is in the cache."""
    if place.is_file():
        return [place]
    names = _names(place, requirement)
    needed = needed_files(names, requirement.components, requirement.pickles)
    return [place / name for name in needed]


def commit_of(requirement: Requirement, place: Path) -> str | None:
    """The commit of a model in the cache; None for a model that is a path."""
    if requirement.ref.path is not None:
        return None
    if not requirement.ref.file:
        return place.name
    return place.parents[requirement.ref.file.count("/")].name


def _names(folder: Path, requirement: Requirement) -> set[str]:
    """Names relative to a snapshot's folder, of its own files and those of the components."""
    places = [folder, *(folder / component for component in requirement.components)]
    names = set()
    for place in places:
        inside = place.iterdir() if place.is_dir() else ()
        names |= {path.relative_to(folder).as_posix() for path in inside if path.is_file()}
    return names


def _complete(folder: Path, requirement: Requirement) -> bool:
    names = _names(folder, requirement)
    if INDEX not in names:  # one component alone
        return is_whole("", names, requirement.pickles)
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except ValueError:
        return False  # asking the hub will find it out
    listed = {name for name, kind in index.items() if isinstance(kind, list) and kind[0]}
    wanted = listed & set(requirement.components)
    return all(is_whole(component, names, requirement.pickles) for component in wanted)
