"""
The results' tables: on what was measured, and what.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"


def facts() -> list[str]:
    """
    Say on what this was measured.
    """
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    memory = psutil.virtual_memory().total / 2**30
    return [
        f"Measured {datetime.now(UTC):%Y-%m-%d} at commit `{commit}`: {os.cpu_count()} cores, {memory:.0f} GiB, {platform.freedesktop_os_release().get('PRETTY_NAME', platform.system())}, "
        f"Linux {platform.release()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; load average at the start {os.getloadavg()[0]:.1f}.",
    ]


def table(title: str, said: list[str], rows: list[tuple[str, str]]) -> str:
    """
    Write the results as Markdown.
    """
    lines = [
        f"## {title}",
        "",
        *said,
        "",
        "| what | measured |",
        "|---|---|",
        *(f"| {what} | {figure} |" for what, figure in rows),
        "",
    ]
    return "\n".join(lines)


def write(name: str, text: str) -> None:
    """
    Put a section into benchmarks/RESULTS.md, in place of the one of that name before.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = (
        RESULTS.read_text("utf-8")
        if RESULTS.exists()
        else "# Results\n\nWritten by the benchmarks themselves; nothing here was typed in.\n"
    )
    if begin not in old:
        old += f"\n{begin}\n{end}\n"
    head, _, rest = old.partition(begin)
    RESULTS.write_text(f"{head}{begin}\n{text}{end}{rest.partition(end)[2]}", "utf-8")
