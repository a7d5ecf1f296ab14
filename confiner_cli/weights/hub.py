"""Models on the hub: found in huggingface_hub's cache without a socket, or downloaded into it.

HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN and HF_ENDPOINT mean what they mean to
huggingface_hub.
"""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import HfApi, constants

from confiner_cli import files
from confiner_cli.errors import ConfinerError
from confiner_cli.weights.blob_download import SUFFIX, remove_partials
from confiner_cli.weights.checksums import verify_files
from confiner_cli.weights.hub_cache import blob_folder, cache_folder, in_cache
from confiner_cli.weights.hub_errors import retrying, translated
from confiner_cli.weights.model_ref import PICKLES, ModelRef, Requirement, converted, present
from confiner_cli.weights.repository_download import Download, Listed
from confiner_cli.weights.select import INDEX, UNWEIGHTED, is_whole, needed_files


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


def sweep(requirement: Requirement) -> None:
    """Remove what broken downloads have left of files that are whole now, and dead conversions."""
    place = found(requirement)
    if place is not None:
        files.sweep(place if place.is_dir() else place.parent)
    if requirement.ref.path is None:
        for partial in blob_folder(requirement.ref).glob(f"*{SUFFIX}"):
            blob = partial.with_name(partial.name.partition(".")[0])
            if blob.exists():
                remove_partials(blob)


def missing(requirement: Requirement) -> Download | None:
    """What has to be downloaded for a model.

    The hub is asked only where the cache lacks something.

    Raises:
        ConfinerError: the hub cannot be reached, or has no such repository or file; a file in the
            cache is damaged.
    """
    ref = requirement.ref
    if ref.path is not None or found(requirement) is not None:
        return None
    if constants.is_offline_mode():
        raise ConfinerError(
            f"{ref} is not in the cache {cache_folder()}, and HF_HUB_OFFLINE forbids to fetch it",
            "unset HF_HUB_OFFLINE, or run `confiner experts download SET` where there is a network",
        )
    commit, listing = _listing(ref)
    chosen = sorted(_chosen(requirement, set(listing)))
    places = {name: in_cache(ref, name, commit) for name in chosen}
    verify_files(place for place in places.values() if place is not None)
    absent = {name: listing[name] for name, place in places.items() if place is None}
    return Download(ref, absent)


def commit_of(requirement: Requirement, place: Path) -> str | None:
    """The commit of a model in the cache; None for a model that is a path."""
    if requirement.ref.path is not None:
        return None
    if not requirement.ref.file:
        return place.name
    return place.parents[requirement.ref.file.count("/")].name


def _listing(ref: ModelRef) -> tuple[str | None, dict[str, Listed]]:
    """The commit that the hub has for a revision, and its files by name."""
    with translated(ref):
        info = retrying(
            lambda: HfApi().model_info(ref.repo, revision=ref.revision, files_metadata=True)
        )
    listing = {}
    for file in info.siblings or ():
        hash_ = file.lfs.sha256 if file.lfs else file.blob_id or ""
        listing[file.rfilename] = Listed(file.size or 0, hash_)
    return info.sha, listing


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


def _chosen(requirement: Requirement, names: set[str]) -> set[str]:
    """The files to fetch.

    Raises:
        ConfinerError: the repository has them not, or only as pickles.
    """
    ref = requirement.ref
    if ref.file:
        if ref.file not in names:
            raise ConfinerError(
                f"{ref.repo} has no file {ref.file}", f"it has {', '.join(sorted(names)[:8])}"
            )
        return {ref.file, Path(ref.file).with_name("config.json").as_posix()} & names
    for component in _weighty(requirement, names):
        if not is_whole(component, names, requirement.pickles):
            where = f" in {component}/" if component else ""
            raise ConfinerError(
                f"{ref} has no whole safetensors weights{where}",
                f"a single file is named {ref.repo}:FILE; experts.<role>.pickles=true takes .bin "
                "files, too",
            )
    return set(needed_files(names, requirement.components, requirement.pickles))


def _weighty(requirement: Requirement, names: set[str]) -> list[str]:
    """The components with weights that a repository has; "" for one that is a component itself."""
    if INDEX not in names:
        return [""]
    folders = {name.partition("/")[0] for name in names if "/" in name}
    wanted = set(requirement.components) & folders
    return sorted(wanted - set(UNWEIGHTED))
