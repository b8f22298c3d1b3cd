"""
A MySQL server for tests. Debian's stable release has none, and the one of its unstable suite can't be installed there, as it needs
a newer C library. So its packages, and those of every library it needs, are fetched by apt (private lists and cache; apt checks
the signatures against Debian's keyring), unpacked into a folder of their own and run through their own loader. Nothing of the
system is changed, and no rights are needed.

    python -m fustor_core.testing.debian_mysql      # fetches it when it is not there yet; prints where it is

The folder is `.cache/mysql` of the clone; remove it to fetch anew. A MySQL that is installed is taken as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fustor_core.testing.private_server import BinaryMissing

PACKAGE = "mysql-server-core"
_SUITE = "sid"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MIRROR = "http://deb.debian.org/debian"
_NEEDLESS = ("usr/bin", "usr/share/doc", "usr/share/man", "usr/share/locale")
_TIMEOUT_S = 300.0
# apt looks only for what is not installed; Perl is for programs beside the server.
_STATUS = """Package: perl
Status: install ok installed
Architecture: {architecture}
Multi-Arch: allowed
Version: 999
Maintainer: nobody
Description: not needed to run the server
"""


@dataclass(frozen=True, slots=True)
class Mysqld:
    """
    A MySQL server's program.

    Attributes:
        command: What runs it, before the server's own arguments.
        share: Its messages and character sets; None when it finds them itself.
        plugins: Its plugins; None when it finds them itself.
    """

    command: tuple[str, ...]
    share: Path | None = None
    plugins: Path | None = None


def cache_folder() -> Path:
    """
    Return where fetched things are kept: inside the clone that this module belongs to, else in the user's cache.
    """
    for parent in Path(__file__).resolve().parents:
        if (parent / "uv.lock").exists():
            return parent / ".cache" / "mysql"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fustor" / "mysql"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """
    Keep other processes out of a folder, which is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def find_mysqld() -> Mysqld:
    """
    Return the server's program; fetch it when it is not there.

    Raises:
        BinaryMissing: It can't be had; says why.
    """
    installed = shutil.which("mysqld", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/libexec"]))
    if installed is not None and not _is_mariadb(installed):
        return Mysqld((installed,))
    folder = cache_folder()
    root = folder / "root"
    if not root.is_dir():
        with locked(folder):
            if not root.is_dir():
                _fetch(folder, root)
    return _unpacked(root)


def _is_mariadb(program: str) -> bool:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return said.returncode != 0 or "mariadb" in said.stdout.lower()


def _unpacked(root: Path) -> Mysqld:
    loaders = sorted(root.glob("usr/lib/*/ld-linux*.so.*"))
    server = root / "usr/sbin/mysqld"
    if not loaders or not server.is_file():
        raise BinaryMissing(f"{root} does not hold a MySQL server; remove {root.parent} and run this again")
    loader = loaders[0]
    return Mysqld(
        (str(loader), "--library-path", str(loader.parent), str(server)),
        root / "usr/share/mysql",
        root / "usr/lib/mysql/plugin",
    )


def _fetch(folder: Path, root: Path) -> None:
    for program in ("apt-get", "dpkg", "dpkg-deb"):
        if shutil.which(program) is None:
            raise BinaryMissing(
                f"there is neither a MySQL server nor {program!r} to fetch one; install MySQL 8.0 or later"
            )
    if not _KEYRING.exists():
        raise BinaryMissing(
            f"there is no {str(_KEYRING)!r} to check packages by; apt-get install debian-archive-keyring"
        )
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=folder) as scratch:
        archives = _download(Path(scratch))
        fresh = Path(scratch) / "root"
        fresh.mkdir()
        for archive in archives:
            _run(["dpkg-deb", "-x", str(archive), str(fresh)], f"unpacking {archive.name}")
        for name in _NEEDLESS:
            shutil.rmtree(fresh / name, ignore_errors=True)
        _run([*_unpacked(fresh).command, "--no-defaults", "--version"], "running the server that was unpacked")
        fresh.rename(root)


def _download(scratch: Path) -> list[Path]:
    for name in ("state/lists/partial", "cache/archives/partial", "parts"):
        (scratch / name).mkdir(parents=True)
    architecture = _run(["dpkg", "--print-architecture"], "asking for the architecture").strip()
    (scratch / "status").write_text(_STATUS.format(architecture=architecture))
    (scratch / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {mirror()} {_SUITE} main\n")
    options = {
        "Dir::State": scratch / "state",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch / "cache",
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": scratch / "parts",
        "Dir::Etc::preferences": scratch / "none",
        "Dir::Etc::preferencesparts": scratch / "parts",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        # A mirror that stands still is good enough for a test; what it has is signed all the same.
        "Acquire::Check-Valid-Until": "false",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "APT::Install-Recommends": "false",
    }
    apt = ["apt-get", "-q", "-y", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
    _run([*apt, "update"], f"reading what {mirror()} has in {_SUITE}")
    _run([*apt, "--download-only", "install", PACKAGE], f"fetching {PACKAGE} from {mirror()}")
    found = sorted((scratch / "cache/archives").glob("*.deb"))
    if not any(one.name.startswith(f"{PACKAGE}_") for one in found):
        raise BinaryMissing(f"apt-get fetched no {PACKAGE} from {mirror()}; look whether {_SUITE} still has it")
    return found


def mirror() -> str:
    """
    Return the mirror that the system's own sources name.
    """
    for place in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")):
        with contextlib.suppress(OSError):
            for found in re.finditer(r"^(?:URIs:|deb(?:\s+\[.*?\])?)\s*(http\S+)", place.read_text(), re.MULTILINE):
                if "security" not in found[1]:
                    return found[1].rstrip("/")
    return _MIRROR


def _run(command: list[str], doing: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BinaryMissing(
            f"{doing} took more than {_TIMEOUT_S:.0f} s; look at the network and run this again"
        ) from None
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-1500:]
        raise BinaryMissing(
            f"{doing} failed:\n{said}\nmend that (the network, the mirror, room on the disk) and run this again"
        )
    return done.stdout


def main() -> int:
    """
    Fetch the server when it is not there; print what runs it.
    """
    try:
        sys.stdout.write(" ".join(find_mysqld().command) + "\n")
    except BinaryMissing as exc:
        sys.stderr.write(f"no MySQL server: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
