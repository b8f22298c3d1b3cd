#!/usr/bin/env python3
"""
Merge the code and documentation files of a folder into one text file, for reading or analysing a project as a whole.

    python dev-tools/project_merge.py ./src
    python dev-tools/project_merge.py . --output everything.txt --extensions .py,.md --max-size 200000

Needs nothing but Python. Honours .gitignore: inside a git work tree git itself is asked; elsewhere, or without git,
the .gitignore files on the way are read by the same rules (`gitignore.py`). Binary files, oversized files, symbolic links and earlier
outputs of this script are left out and named at the end; text that is not UTF-8 is converted and says so.
"""

from __future__ import annotations

import argparse
import codecs
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gitignore import IgnoreTree

MARK = "# Merged by project_merge.py"
DEFAULT_OUTPUT = "project_merged.txt"
DEFAULT_MAX_SIZE = 1_000_000
DEFAULT_EXTENSIONS = (
    *(".py", ".pyi", ".toml", ".md", ".rst", ".yaml", ".yml", ".cfg", ".ini", ".txt"),
    *(".sh", ".html", ".css", ".js", ".json", ".sql"),
)
BINARY_PROBE_BYTES = 8192


@dataclass
class Merge:
    """
    What went into a merge, and what was left out and why.
    """

    merged: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def git_files(root: Path) -> list[str] | None:
    """
    Ask git for the files below `root` that are tracked or not ignored.

    Returns:
        Paths relative to `root`; None when git is missing, refuses, or `root` is in no work tree.
    """
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return None
    if done.returncode != 0:
        return None
    return sorted({os.fsdecode(name) for name in done.stdout.split(b"\0") if name})


def walked_files(root: Path) -> Iterator[str]:
    """
    Yield the files below `root` that no .gitignore excludes, relative to it, without git.
    """
    ignore = IgnoreTree(root)

    def walk(folder: str) -> Iterator[str]:
        ignore.enter(folder)
        with os.scandir(root / folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            is_dir = entry.is_dir(follow_symlinks=False)
            if entry.name == ".git" or ignore.is_ignored(path, is_dir=is_dir):
                continue
            if is_dir:
                yield from walk(path)
            else:
                yield path

    yield from walk("")


def decode(data: bytes) -> tuple[str, str]:
    """
    Turn the bytes of a text file into text, and name the encoding that was used.
    """
    for bom, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(bom):
            try:
                return data.decode(encoding), "utf-8" if encoding == "utf-8-sig" else encoding
            except UnicodeDecodeError:
                break
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"  # takes any byte; the header tells the reader


def read(path: Path, max_size: int) -> tuple[str, str] | str:
    """
    Read one file.

    Returns:
        Its text and encoding, or the reason why it is left out.
    """
    try:
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            return "symbolic link"
        if not stat.S_ISREG(info.st_mode):
            return "not a regular file"
        if info.st_size > max_size:
            return f"larger than {max_size} bytes ({info.st_size})"
        data = path.read_bytes()
    except OSError as exc:
        return f"can't be read: {exc.strerror}"
    probe = data[:BINARY_PROBE_BYTES]
    if b"\0" in probe and not probe.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "binary"
    if data.startswith(MARK.encode()):
        return "an earlier output of project_merge.py"
    return decode(data)


def merge(root: Path, output: Path | None, *, extensions: tuple[str, ...] | None, max_size: int) -> tuple[str, Merge]:
    """
    Build the merged text of a folder.

    Args:
        root: The folder.
        output: Where the text will be written, so that it never becomes part of itself.
        extensions: File name endings to take, lower case with the dot; None = every text file.
        max_size: Largest file to take, bytes.
    """
    listed = git_files(root)
    paths = listed if listed is not None else list(walked_files(root))
    result = Merge()
    parts: list[str] = []
    for path in sorted(paths, key=lambda name: [os.fsencode(part) for part in name.split("/")]):
        where = root / path
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        if extensions is not None and not path.lower().endswith(extensions):
            continue
        if where.is_dir() or not os.path.lexists(where):
            continue  # a submodule, or a file deleted since git last looked
        if output is not None and where.resolve() == output:
            continue
        got = read(where, max_size)
        if isinstance(got, str):
            result.left_out.append((shown, got))
            continue
        text, encoding = got
        lines = text.count("\n") + (not text.endswith("\n") and text != "")
        note = "" if encoding == "utf-8" else f", converted from {encoding}"
        result.merged.append((shown, note))
        parts.append(
            f"\n===== {shown} ({lines} lines{note}) =====\n{text}{'' if text.endswith(chr(10)) or not text else chr(10)}"
        )
    head = [f"{MARK}: {len(result.merged)} files of {root.resolve().name}\n"]
    head += [f"#   {path}{note}\n" for path, note in result.merged]
    if result.left_out:
        head.append("# Left out:\n")
        head += [f"#   {path}: {reason}\n" for path, reason in result.left_out]
    return "".join(head + parts), result


def write(text: str, output: Path) -> None:
    """
    Put the text in place in one step: whoever looks sees the old file or the whole new one.
    """
    handle, temporary = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as out:
            out.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # noqa: PTH101 - mkstemp gave a name
        os.replace(temporary, output)  # noqa: PTH105
    except BaseException:
        os.unlink(temporary)  # noqa: PTH108
        raise


def main(argv: list[str] | None = None) -> int:
    """
    Run the command line; return the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder to merge")
    parser.add_argument(
        "-o",
        "--output",
        default=DEFAULT_OUTPUT,
        help=f"file to write, - for standard output (default {DEFAULT_OUTPUT})",
    )
    parser.add_argument(
        "-e", "--extensions", help=f"file name endings, comma separated (default {','.join(DEFAULT_EXTENSIONS)})"
    )
    parser.add_argument("--all", action="store_true", help="every text file, whatever its name ends in")
    parser.add_argument(
        "--max-size",
        type=int,
        default=DEFAULT_MAX_SIZE,
        metavar="BYTES",
        help="largest file to take (default %(default)s)",
    )
    given = parser.parse_args(argv)

    if not given.folder.is_dir():
        print(f"project_merge: {str(given.folder)!r} is not a folder; name one that exists", file=sys.stderr)
        return 2
    extensions: tuple[str, ...] | None = DEFAULT_EXTENSIONS
    if given.all:
        extensions = None
    elif given.extensions:
        extensions = tuple(
            f".{part.strip().lstrip('.').lower()}" for part in given.extensions.split(",") if part.strip()
        )
    output = None if given.output == "-" else Path(given.output).resolve()
    if output is not None and not output.parent.is_dir():
        print(
            f"project_merge: {str(output.parent)!r} does not exist; make it, or choose another --output",
            file=sys.stderr,
        )
        return 2

    text, result = merge(given.folder, output, extensions=extensions, max_size=given.max_size)
    if output is None:
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    else:
        try:
            write(text, output)
        except OSError as exc:
            print(
                f"project_merge: {str(output)!r} can't be written: {exc.strerror}; choose another --output",
                file=sys.stderr,
            )
            return 1
        print(
            f"{len(result.merged)} files merged into {output}; {len(result.left_out)} left out (named at its top)",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
