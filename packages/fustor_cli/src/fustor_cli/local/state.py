"""
What `fustor up` remembers from run to run, in `<config root>/fustor-up.json` (mode 0600: it holds the admin password
and the API key).
"""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from fustor_cli.local.layout import Layout
from fustor_common import atomicfile
from fustor_core.errors import ConfigError

DEFAULT_PORT_BASE = 8100


class Ports(msgspec.Struct, frozen=True):
    """
    Where the three services listen, on the loopback address.
    """

    agent: int = DEFAULT_PORT_BASE
    registry: int = DEFAULT_PORT_BASE + 1
    fusion: int = DEFAULT_PORT_BASE + 2

    @classmethod
    def from_base(cls, base: int) -> Ports:
        """
        Return three ports in a row.
        """
        return cls(base, base + 1, base + 2)

    def of(self, service: str) -> int:
        """
        Return the port of a service.
        """
        port: int = getattr(self, service)
        return port

    def url(self, service: str) -> str:
        """
        Return the address of a service.
        """
        return f"http://127.0.0.1:{self.of(service)}"


class KnownPath(msgspec.Struct):
    """
    A directory or a database that was given to `fustor up`.

    Attributes:
        entries: How many entries or rows it had when last looked at, for the progress bar.
        driver: Which source driver reads it.
    """

    sync: str
    entries: int | None = None
    driver: str = "fs"


class UpState(msgspec.Struct):
    """
    The whole memory.
    """

    version: int = 1
    ports: Ports = msgspec.field(default_factory=Ports)
    admin_name: str = "admin"
    admin_password: str = ""
    datastore_id: int | str | None = None
    datastore_name: str = "local"
    key_id: int | str | None = None
    key: str | None = None
    paths: dict[str, KnownPath] = {}


def restore_hint(layout: Layout) -> str:
    """
    Return what to do when the memory, and with it the admin password, is lost.
    """
    return (
        f"restore it from a back-up; without one run `fustor down`, move it and {str(layout.root / 'registry.db')!r} "
        "away, and `fustor up PATH` makes a new user and key"
    )


def load(layout: Layout) -> UpState | None:
    """
    Read the memory; None before the first run.

    Raises:
        ConfigError: The file can't be read.
    """
    try:
        return msgspec.json.decode(layout.state.read_bytes(), type=UpState)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise ConfigError(
            f"{str(layout.state)!r} can't be read: {exc.strerror}",
            hint="run as the user it belongs to, or set FUSTOR_CONFIG_DIR to another folder",
            context={"path": str(layout.state)},
        ) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(
            f"{str(layout.state)!r} is damaged: {exc}",
            hint=restore_hint(layout),
            context={"path": str(layout.state)},
        ) from exc


def save(layout: Layout, state: UpState) -> None:
    """
    Write the memory, readable by its owner only.
    """
    write_private(layout.state, msgspec.json.format(msgspec.json.encode(state), indent=2))


def write_private(path: Path, data: bytes) -> None:
    """
    Replace a file that only its owner may read.

    Raises:
        ConfigError: It can't be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            path.chmod(0o600)
        atomicfile.write_bytes(path, data, mode=0o600)
    except OSError as exc:
        raise ConfigError(
            f"{str(path)!r} can't be written: {exc.strerror}",
            hint="make room on the disk, or make the folder writable for this user",
            context={"path": str(path)},
        ) from exc


def again(state: UpState | None) -> str:
    """
    Return the command that starts what was set up once more: it needs no path, and so no quoting either.
    """
    return "fustor up" if state is not None and state.paths else "fustor up PATH"


def new_password() -> str:
    """
    Return a random password of 144 bits.
    """
    return secrets.token_urlsafe(18)
