"""Libraries of the page: fetched with npm, held against their known digest, with their licences."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from envs.errors import RunError, UserError

MOST_SECONDS = 600.0
"""Time that npm gets for a library [s]."""


@dataclass(frozen=True)
class Library:
    """A package of the npm registry, and what of it is used."""

    title: str
    """Name that people know it by."""
    package: str
    version: str
    integrity: str
    """SHA-512 of its archive in base64, as the registry states it."""
    files: tuple[str, ...]
    """Paths within the package; the page has each by its bare name."""
    licence: str
    """SPDX identifier."""
    licence_file: str | None
    """Path of the licence within the package; None where it has none."""
    twin: str | None
    """Distribution of the same project in Python, installed here, that has the licence."""


LIBRARIES = (
    Library(
        title="MuJoCo",
        package="@mujoco/mujoco",
        version="3.14.0",
        integrity="WPUYidu4Fx8+uM4hQv80SOA0ifpWGrsNJguKs8JBV8SCTxjKQ2/rqsh880nUH0/Vwa8vuefghvCQkkoed3bk"
        "Ug==",
        files=("mujoco.js", "mujoco.wasm"),
        licence="Apache-2.0",
        licence_file=None,
        twin="mujoco",
    ),
    Library(
        title="ONNX Runtime Web",
        package="onnxruntime-web",
        version="1.30.0",
        integrity="q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfK"
        "YQ==",
        files=("dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"),
        licence="MIT",
        licence_file=None,
        twin="onnxruntime",
    ),
    Library(
        title="three.js",
        package="three",
        version="0.187.0",
        integrity="Qiu7R+Cmh8CstZsY1uJOSWnVlfo7ZtNLV7mF8Jltk3LB3AtDu9cRZlcnRKkAk8Y4z6KKw35z7Y7Urd7jWY8e"
        "tA==",
        files=(
            "build/three.core.js",
            "build/three.module.js",
            "examples/jsm/controls/OrbitControls.js",
        ),
        licence="MIT",
        licence_file="LICENSE",
        twin=None,
    ),
)


def fetch(libraries: Iterable[Library] = LIBRARIES) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Files of libraries and their licences, by name.

    Raises:
        UserError: npm is not installed.
        RunError: npm cannot fetch a library, or what it fetched is not the one that is known.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            "npm is not installed, which fetches the page's libraries; install Node.js with npm "
            "(Debian and Ubuntu: apt-get install npm) and run this again"
        )
    files: dict[str, bytes] = {}
    licences: dict[str, bytes] = {}
    lines = ["Libraries of this page, unchanged as the npm registry has them.", ""]
    for library in libraries:
        held = unpacked(_archive(library, npm), library)
        files |= {path.rpartition("/")[2]: held[path] for path in library.files}
        texts = _licences(library, held)
        folder = library.package.rpartition("/")[2]
        licences |= {f"{folder}/{name}": text for name, text in texts.items()}
        lines += [
            f"{library.title}: {library.package} {library.version}, {library.licence}",
            f"  files: {', '.join(path.rpartition('/')[2] for path in library.files)}",
            f"  licence: {', '.join(f'{folder}/{name}' for name in texts)}",
        ]
        if library.twin:
            found = metadata.version(library.twin)
            lines.append(f"  (its text is that of the same project's Python package, {found})")
    licences["README.txt"] = ("\n".join(lines) + "\n").encode()
    return files, licences


def _archive(library: Library, npm: str) -> bytes:
    """A library's archive (.tgz); npm keeps it, so that the second time needs no network."""
    what = f"{library.package}@{library.version}"
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", what, "--prefer-offline", "--fetch-retries=1", "--loglevel=error"]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=MOST_SECONDS,
            )
            reason = _reason(done.stderr)
        except subprocess.TimeoutExpired:
            reason = f"no answer within {MOST_SECONDS:g} s"
        archives = list(Path(folder).glob("*.tgz"))
        if len(archives) != 1:
            raise RunError(
                f"npm cannot fetch {what} ({reason}); the npm registry must be reachable the first "
                f"time: see that `npm view {what} version` answers, then run this again"
            )
        return archives[0].read_bytes()


def _reason(stderr: str) -> str:
    """What npm says is wrong, in one line."""
    said = [line.split("error", 1)[1].strip() for line in stderr.splitlines() if "error" in line]
    return "; ".join([line for line in said if line and "complete log" not in line][:2]) or "?"


def unpacked(archive: bytes, library: Library) -> dict[str, bytes]:
    """The files of a library that are used, by their paths within the package.

    Raises:
        RunError: it is not the archive that is known.
    """
    digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if digest != library.integrity:
        raise RunError(
            f"{library.package}@{library.version} is not the archive that is known (SHA-512 "
            "differs); nothing was written. Run `npm cache clean --force` and this again"
        )
    wanted = {*library.files, *filter(None, [library.licence_file])}
    with tempfile.SpooledTemporaryFile() as file:
        file.write(archive)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:gz") as members:
            held = {}
            for member in members:
                path = member.name.partition("/")[2]
                if path in wanted and (content := members.extractfile(member)) is not None:
                    held[path] = content.read()
    assert wanted == set(held), wanted - set(held)  # by its digest it is the archive that has them
    return held


def _licences(library: Library, held: Mapping[str, bytes]) -> dict[str, bytes]:
    """Licences and notices by their names."""
    if library.licence_file:
        return {"LICENSE": held[library.licence_file]}
    assert library.twin is not None
    try:
        files = metadata.distribution(library.twin).files or []
    except metadata.PackageNotFoundError:
        files = []
    texts = {
        path.name: Path(str(path.locate())).read_bytes()
        for path in files
        if path.name.upper().startswith(("LICENSE", "THIRDPARTYNOTICES"))
        and len(path.parts) <= 3  # its own, not those of parts of it
    }
    if not any(name.upper().startswith("LICENSE") for name in texts):
        raise RunError(
            f"the Python package {library.twin} has no licence text for {library.title}; nothing "
            f"was written. Install it: pip install {library.twin}"
        )
    return texts
