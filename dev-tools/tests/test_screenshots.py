"""
Tests of what `dev-tools/screenshots.py` does to its pictures.
"""

from __future__ import annotations

import runpy
from pathlib import Path

from PIL import Image

SCRIPT = Path(__file__).parents[1] / "screenshots.py"


def test_backgrounds_stay_exactly_and_the_colours_of_small_marks_stay_near() -> None:
    """
    Of more colours than a picture may keep: one that differs little from a background does not become it, nor take its place.
    """
    page, card, mark = (246, 247, 249), (247, 247, 250), (27, 127, 59)
    picture = Image.new("RGB", (120, 120), page)
    picture.paste(card, (0, 60, 120, 120))
    picture.paste(mark, (3, 3, 5, 5))
    for at in range(2000):  # the edges of letters
        picture.putpixel((10 + at % 100, 10 + at // 100), (at % 250, at * 7 % 250, at * 13 % 250))
    reduced = runpy.run_path(str(SCRIPT))["_reduced"](picture)
    assert reduced.mode == "P"
    shown = reduced.convert("RGB")
    assert (shown.getpixel((119, 0)), shown.getpixel((0, 119)), shown.getpixel((4, 4))) == (page, card, mark)
    differences = zip(shown.tobytes(), picture.tobytes(), strict=True)
    assert max(abs(kept - given) for kept, given in differences) < 60
