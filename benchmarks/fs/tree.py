"""
A tree as a research group would have it: projects, runs, samples; mostly small folders, a few very large; names people give; sparse files.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

PROJECTS = ("genome", "weather", "tokamak", "microscopy", "survey-2025", "Thesis drafts", "instrument_logs", "models")
STEMS = (
    "sample",
    "IMG",
    "frame",
    "result",
    "counts",
    "spectrum",
    "notes",
    "run",
    "checkpoint",
    "table",
    "plot",
    "report",
)
ENDINGS = ("h5", "csv", "txt", "json", "tif", "fastq.gz", "log", "png", "npy", "md")
LARGE_FOLDER_FILES = 5_000
LARGE_FOLDER_SHARE = 0.05
ODD_NAMES = ("\u6570\u636e \u7b2c{}\u6279.xlsx", "r\u00e9sum\u00e9 {}.docx", "copy of copy ({}).txt")
ODD_EVERY = 997


def build(root: Path, files: int, seed: int = 1) -> tuple[int, int]:
    """
    Make the tree.

    Args:
        root: An empty or missing folder.
        files: How many regular files.
        seed: The same seed gives the same tree.

    Returns:
        How many files and how many folders (without the root) were made.
    """
    chance = random.Random(seed)
    root.mkdir(parents=True, exist_ok=True)
    made = 0
    folders: set[str] = set()

    def fill(folder: str, wanted: int) -> None:
        nonlocal made
        where = root / folder
        where.mkdir(parents=True, exist_ok=True)
        parts = folder.split("/")
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        handle = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for _ in range(min(wanted, files - made)):
                name = f"{chance.choice(STEMS)}_{made:07}.{chance.choice(ENDINGS)}"
                if made % ODD_EVERY == 0:
                    name = chance.choice(ODD_NAMES).format(made)
                file = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644, dir_fd=handle)
                os.ftruncate(file, int(chance.paretovariate(0.5)) % 1_000_000_000)  # sparse: a size, no blocks
                os.close(file)
                made += 1
        finally:
            os.close(handle)

    number = 0
    while made < files * (1 - LARGE_FOLDER_SHARE):
        runs = [f"run_{chance.randint(0, 9):03}" for _ in range(chance.randint(1, 2))]
        fill(
            "/".join([chance.choice(PROJECTS), str(2015 + number % 11), *runs, f"part-{number:06}"]),
            chance.randint(8, 22),
        )
        number += 1
    while made < files:
        fill(f"{chance.choice(PROJECTS)}/archive/dump-{number:06}", LARGE_FOLDER_FILES)
        number += 1
    return made, len(folders)
