"""
What a tree source is told: its root (the URI) and its `driver_params`, validated.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pathspec
from pydantic import BaseModel, ConfigDict, Field

from fustor_core.errors import ConfigError
from fustor_core.models.config import SourceConfig
from fustor_core.models.file_row import escape_name
from fustor_core.params import read_params

Wanted = Callable[[str, bool], bool]


class FsParams(BaseModel):
    """
    The `driver_params` of a tree source.
    """

    model_config = ConfigDict(extra="forbid")

    include: list[str] = Field(
        default_factory=list,
        title="Only files like these",
        description="Patterns as in .gitignore: only files that match one are reported (directories always are).",
    )
    exclude: list[str] = Field(
        default_factory=list,
        title="Leave out",
        description="Patterns as in .gitignore: what matches, and all below it, is left out.",
    )
    cross_mounts: bool = Field(
        False,
        title="Also file systems that are mounted below",
        description="Descend into other file systems mounted below the root.",
    )
    poll_interval_s: float = Field(
        10.0,
        gt=0,
        title="Compare folders that can't be watched every (s)",
        description="How often directories that can't be watched are compared.",
    )
    open_report_s: float = Field(
        30.0,
        gt=0,
        title="Report files that stay open every (s)",
        description="A file that stays open for writing is reported this often.",
    )
    rescan_interval_s: float = Field(
        6 * 3600.0, ge=0, description="How often the whole tree is compared, for what inotify can't see; 0 = never."
    )
    max_watches: int | None = Field(None, ge=1, description="Most inotify watches to take; what is beyond is polled.")
    max_pending: int = Field(
        200_000, ge=1, description="Most changed names kept in memory; past it directories are compared instead."
    )
    journal_entries: int = Field(
        1_000_000, ge=1, description="How many sent changes are kept to go back to a position."
    )
    arm_wait_s: float = Field(
        1.0, ge=0, description="How long the start of the stream waits for watches; the rest is placed meanwhile."
    )
    state_dir: str | None = Field(None, description="Where the local index is kept.")


def parse_params(params: dict[str, object]) -> FsParams:
    """
    Check `driver_params`.

    Raises:
        ConfigError: A name is unknown or a value out of range; says which.
    """
    return read_params(FsParams, params, "tree source")


def root_of(uri: str) -> str:
    """
    Return the absolute path that a URI (`/path` or `file:///path`) names, in the form the operating system wants.

    Raises:
        ConfigError: It is not an absolute path on this machine.
    """
    if uri.startswith("file:"):
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise ConfigError(f"{uri!r} names another machine", hint="use file:///path, three slashes")
        path = unquote(parts.path, errors="surrogateescape")
    else:
        path = uri
    if not path or "\0" in path:
        raise ConfigError(f"{uri!r} is not a path", hint="give the directory as /path or file:///path")
    try:
        where = Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{uri!r} names no user's folder: {error}", hint="give the directory as /path") from None
    if not where.is_absolute():
        raise ConfigError(
            f"{uri!r} is not an absolute path: it would depend on where the agent was started",
            hint="give the directory as /path or file:///path",
        )
    return str(where.resolve())


def schema_of(root: str) -> str:
    """
    Return the `event_schema` of a root: its `file://` URI, percent-encoded.
    """
    return "file://" + quote(root, errors="surrogateescape")


def wanted_of(params: FsParams, hidden: list[str]) -> Wanted | None:
    """
    Compile the patterns to a function of (path relative to the root, is a directory); None when all is wanted.

    Args:
        params: Holds the patterns.
        hidden: Paths below the root, escaped, that are left out with all below: Fustor's own files, whose
            changes would be caused by reporting their changes.

    Raises:
        ConfigError: A pattern can't be read.
    """
    if not (params.include or params.exclude or hidden):
        return None
    try:
        include = pathspec.GitIgnoreSpec.from_lines(params.include) if params.include else None
        exclude = pathspec.GitIgnoreSpec.from_lines(params.exclude) if params.exclude else None
    except ValueError as error:
        raise ConfigError(
            f"a pattern of `include` or `exclude` can't be read: {error}", hint="patterns are those of .gitignore"
        ) from None
    own = frozenset(hidden)

    def wanted(path: str, is_dir: bool) -> bool:
        if path in own:
            return False
        if exclude is not None and exclude.match_file(path + "/" if is_dir else path):
            return False
        return is_dir or include is None or include.match_file(path)

    return wanted


def own_paths(root: str, folders: list[Path]) -> list[str]:
    """
    Return those of our own folders that are strictly below the root, relative and escaped.
    """
    found = []
    base = Path(root)
    for folder in folders:
        where = folder.expanduser().absolute().resolve()
        if where != base and where.is_relative_to(base):
            found.append(escape_name(str(where.relative_to(base))))
    return found


def load(config: SourceConfig) -> tuple[str, FsParams]:
    """
    Read root and parameters from a source's configuration.

    Raises:
        ConfigError: Either is wrong.
    """
    return root_of(config.uri), parse_params(config.driver_params)
