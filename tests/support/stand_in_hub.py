"""A stand-in for the Hugging Face hub on 127.0.0.1, with everything that can go wrong there.

It answers what huggingface_hub asks for a download: a model's info, its tree, and HEAD and GET of a
file, whole or from a byte on. Files are sent by the hub itself, without Xet and without a redirect.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from types import SimpleNamespace
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest

LARGE = (".safetensors", ".pt", ".bin")
"""What LFS keeps: the ETag is the content's sha256, else it is the git blob's sha1."""
LISTING = re.compile(
    r"/api/models/(?P<repo>[^/]+/[^/]+)(/(?P<kind>revision|tree)/(?P<revision>[^/]+))?"
)
FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
PAGE = b"<!doctype html><html><body><h1>Please log in to this network</h1></body></html>"

Kind = Literal[
    "absent",
    "gated",
    "missing",
    "busy",
    "cut",
    "reset",
    "stall",
    "short",
    "flipped",
    "html",
    "whole",
]
OF_BODIES = ("cut", "reset", "stall", "short", "flipped", "whole")
OF_FILES = (*OF_BODIES, "gated", "html")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a file, or with all of a repository.

    absent: there is no such repository (401 to strangers, 404 to those with a token);
    gated: files are refused to requests without a token, listings are not;
    missing: the repository lacks the file;
    busy: 503;
    cut: the connection is closed in the middle of the body;
    reset: the same, with a TCP reset;
    stall: half of the body, then nothing for 10 s;
    short: HEAD tells the file's size, GET announces and sends half;
    flipped: one bit of the body is wrong;
    html: a page of its own size, under the file's ETag;
    whole: the body from its beginning, whatever Range was asked for.

    Attributes:
        kind: see above.
        times: after how many requests it is over; None: never.
        method: `HEAD` or `GET` where the other is spared.
    """

    kind: Kind
    times: int | None = None
    method: str = ""

    def concerns(self, method: str, name: str | None) -> bool:
        """Whether it meets a request for the file `name`, or for a listing where None."""
        methods = ("GET",) if self.kind in OF_BODIES else (self.method or method,)
        return method in methods and (name is not None or self.kind not in OF_FILES)


@dataclass(frozen=True)
class Entry:
    """A file of a repository, its ETag, and what listings say of it."""

    content: bytes
    etag: str
    listed: Mapping[str, object]


@dataclass(frozen=True)
class Answer:
    """A response.

    `ending` is what becomes of the connection after half of the body; all of it arrives where that
    is empty.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: str = ""


class StandInHub:
    """The hub of the repositories `root/OWNER/NAME`, on a free port, between `with` and its end.

    Attributes:
        url: what HF_ENDPOINT should be.
        faults: what goes wrong, by (repository, file), or by (repository, None) for all that is
            asked about it.
        requests: the (method, path) of everything asked so far.
        ranges: the (path, Range) of those that asked for a part of a file.
        commits: commits of repositories that have to have a certain one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults: dict[tuple[str, str | None], Fault] = {}
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[tuple[str, str]] = []
        self.commits: dict[str, str] = {}
        self._met: Counter[tuple] = Counter()
        self._lock = threading.Lock()

    def __enter__(self) -> StandInHub:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def files(self, repo: str) -> dict[str, Entry]:
        """The files of a repository, by name; none where there is no such repository."""
        folder = self.root / repo
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return {
            path.relative_to(folder).as_posix(): _entry(path.read_bytes(), path.suffix in LARGE)
            for path in paths
        }

    def commit(self, repo: str) -> str:
        """The one commit of a repository: that of `commits`, else what its content decides."""
        if repo in self.commits:
            return self.commits[repo]
        listing = [(name, entry.etag) for name, entry in self.files(repo).items()]
        return hashlib.sha1(json.dumps(listing).encode()).hexdigest()

    def fetched(self, repo: str) -> set[str]:
        """The files of a repository that somebody downloaded, or tried to."""
        found = [FILE.fullmatch(path) for method, path in self.requests if method == "GET"]
        return {unquote(one["file"]) for one in found if one and one["repo"] == repo}

    def answer(self, method: str, address: str, headers: Mapping[str, str]) -> Answer:
        """The response to one request."""
        path, known = urlsplit(address).path, "authorization" in headers
        with self._lock:
            self.requests.append((method, path))
            if "range" in headers:
                self.ranges.append((path, headers["range"]))
        match = LISTING.fullmatch(path) or FILE.fullmatch(path)
        if match is None:
            return Answer(501, b"the stand-in hub does not know this address")
        asked = {key: value and unquote(value) for key, value in match.groupdict().items()}
        repo, name = asked["repo"], asked.get("file")
        fault, files, commit = self._fault(repo, name, method), self.files(repo), self.commit(repo)
        if fault == "busy":
            return Answer(503, b"Service Unavailable")
        if fault == "absent" or not files:
            return _refusal(404 if known else 401, "RepoNotFound", "Invalid username or password.")
        if asked["revision"] not in (None, "main", commit):
            return _refusal(404, "RevisionNotFound", f"Invalid rev id: {asked['revision']}")
        missing = {key for key, found in self.faults.items() if found.kind == "missing"}
        files = {one: entry for one, entry in files.items() if (repo, one) not in missing}
        if match.re is LISTING:
            return (
                _tree(files)
                if asked["kind"] == "tree"
                else _info(repo, commit, files, "blobs=" in address)
            )
        if name not in files:
            return _refusal(404, "EntryNotFound", "Entry not found", commit)
        if fault == "gated" and not known:
            return _refusal(
                401, "GatedRepo", f"Access to model {repo} is restricted. Please log in.", commit
            )
        return _file(
            files[name], commit, headers.get("range", "") if method == "GET" else "", fault
        )

    def _fault(self, repo: str, name: str | None, method: str) -> Kind | None:
        """What goes wrong with a request; it is one time less from then on."""
        for key in dict.fromkeys([(repo, name), (repo, None)]):
            fault = self.faults.get(key)
            if fault is not None and fault.concerns(method, name):
                with self._lock:
                    self._met[key, fault] += 1
                    if fault.times is None or self._met[key, fault] <= fault.times:
                        return fault.kind
        return None


@cache
def _entry(content: bytes, large: bool) -> Entry:
    if not large:
        return Entry(content, _blob_id(content), _listed(content, content))
    sha256 = hashlib.sha256(content).hexdigest()
    lines = ("version https://git-lfs.github.com/spec/v1", f"oid sha256:{sha256}")
    pointer = "\n".join((*lines, f"size {len(content)}", "")).encode()
    lfs = {"oid": sha256, "sha256": sha256, "size": len(content), "pointerSize": len(pointer)}
    return Entry(content, sha256, {**_listed(content, pointer), "lfs": lfs})


def _listed(content: bytes, in_git: bytes) -> dict[str, object]:
    return {"size": len(content), "oid": _blob_id(in_git), "blobId": _blob_id(in_git)}


def _blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _refusal(status: int, code: str, message: str, commit: str = "") -> Answer:
    headers = {"X-Error-Code": code, "X-Error-Message": message} | (
        {"X-Repo-Commit": commit} if commit else {}
    )
    return Answer(status, json.dumps({"error": message}).encode(), headers)


def _info(repo: str, commit: str, files: Mapping[str, Entry], with_sizes: bool) -> Answer:
    siblings = [
        {"rfilename": name, **(entry.listed if with_sizes else {})} for name, entry in files.items()
    ]
    about = {
        "id": repo,
        "author": repo.split("/")[0],
        "sha": commit,
        "private": False,
        "siblings": siblings,
    }
    return Answer(200, json.dumps(about).encode())


def _tree(files: Mapping[str, Entry]) -> Answer:
    listed = [{"type": "file", "path": name, **entry.listed} for name, entry in files.items()]
    return Answer(200, json.dumps(listed).encode())


def _file(entry: Entry, commit: str, wanted: str, fault: Kind | None) -> Answer:
    """The file, or of what `wanted` (a Range header) says; `fault` is of its body."""
    content = PAGE if fault == "html" else entry.content
    headers = {"ETag": f'"{entry.etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    if "lfs" in entry.listed:
        headers |= {"X-Linked-Etag": f'"{entry.etag}"', "X-Linked-Size": str(len(content))}
    half = len(content) // 2
    if fault == "flipped":
        content = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
    if fault == "short":
        content = content[:half]
    body, status = content, 200
    part = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
    if part and fault != "whole":
        first, last = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
        if first > last:
            return Answer(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
        body, status = content[first : last + 1], 206
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return Answer(status, body, headers, fault if fault in ("cut", "reset", "stall") else "")


class _Server(ThreadingTCPServer):
    """Not http.server's own, which looks its name up, for seconds on some machines.

    No thread is left behind.
    """

    request_queue_size = 64  # the client opens many connections at once
    hub: StandInHub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: _Server

    def do_GET(self) -> None:
        answer = self.server.hub.answer(self.command, self.path, self.headers)
        self.send_response(answer.status)
        for name, value in {
            **answer.headers,
            "Content-Length": str(len(answer.body)),
            "Connection": "close",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(answer.body[: len(answer.body) // 2] if answer.ending else answer.body)
        if answer.ending == "stall":
            self.connection.recv(1)  # until the client goes away, or `timeout`
        if answer.ending == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()  # else it would keep the socket open
            self.connection.close()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """The tests' output is theirs."""


def environment(hub: StandInHub, home: Path) -> dict[str, str]:
    """The environment of a process whose huggingface_hub asks `hub` and keeps all in `home`."""
    prefixes = ("HF_", "HUGGING", "TRANSFORMERS_", "DIFFUSERS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    ours = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return {**kept, **ours, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def forbid_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a socket that is opened fails the test."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a socket was opened"))


@contextmanager
def in_process(hub: StandInHub, home: Path) -> Iterator[list[float]]:
    """Turn this process's huggingface_hub to `hub` and `home`.

    It waits for nothing: the waits are in the list given. The client reads its environment once,
    when it is imported, into `constants`, and looks there at every call, except: `hf_api.api` (and
    with it `huggingface_hub.model_info` and the like) holds the endpoint; the cache manager, the
    `hf` command and git credentials hold copies of their own, which a download does not use.
    """
    from huggingface_hub import constants, file_download, hf_api
    from huggingface_hub.utils import _http

    naps: list[float] = []
    cache_folder, template = str(home / "hub"), hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    values = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_OFFLINE": False,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": cache_folder,
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DISABLE_SYMLINKS": False,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setattr(constants, name, value)
        patch.setattr(hf_api.api, "endpoint", hub.url)
        for module in (file_download, _http):
            patch.setattr(module, "time", SimpleNamespace(sleep=naps.append))
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("NO_PROXY", "127.0.0.1")
        _http.close_session()
        try:
            yield naps
        finally:
            _http.close_session()
