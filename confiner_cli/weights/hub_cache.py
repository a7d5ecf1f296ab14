"""Places in huggingface_hub's cache: `models--OWNER--NAME/` with blobs, refs and snapshots."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants

from confiner_cli.weights.model_ref import ModelRef


def cache_folder() -> Path:
    """Where huggingface_hub keeps models."""
    return Path(constants.HF_HUB_CACHE)


def blob_folder(ref: ModelRef) -> Path:
    """Where it keeps the contents of a repository's files, by their ETags."""
    from huggingface_hub.file_download import repo_folder_name  # with an HTTP client: slow

    return cache_folder() / repo_folder_name(repo_id=ref.repo, repo_type="model") / "blobs"


def in_cache(ref: ModelRef, name: str, revision: str | None = None) -> Path | None:
    """A file of a repository, in the snapshot of a revision; None where it is not there."""
    from huggingface_hub import try_to_load_from_cache  # with an HTTP client: slow

    path = try_to_load_from_cache(ref.repo, name, revision=revision or ref.revision)
    return Path(path) if isinstance(path, str) and Path(path).exists() else None
