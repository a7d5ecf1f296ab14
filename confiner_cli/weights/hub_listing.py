"""What of a model is not on this machine: the hub is asked for it, and only then.

HF_HUB_OFFLINE, HF_TOKEN and HF_ENDPOINT mean what they mean to huggingface_hub.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, constants

from confiner_cli import files
from confiner_cli.errors import ConfinerError
from confiner_cli.weights.blob_download import SUFFIX, remove_partials
from confiner_cli.weights.checksums import verify_files
from confiner_cli.weights.hub import found
from confiner_cli.weights.hub_cache import blob_folder, cache_folder, in_cache
from confiner_cli.weights.hub_errors import retrying, translated
from confiner_cli.weights.model_ref import ModelRef, Requirement
from confiner_cli.weights.repository_download import Download, Listed
from confiner_cli.weights.select import INDEX, UNWEIGHTED, is_whole, needed_files


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
