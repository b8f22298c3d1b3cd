"""
Parts of the paths of this API: only a section fits where one has to be, so that `/api/configs/revisions` is no section of that name, and only a
number where one has to be, so that `/api/dead-letters/_replay` is no letter.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path

from fustor_agent.config_file import SECTIONS
from fustor_common.path_parts import name_part

LARGEST: Final = 2**63 - 1
"""
The largest number that a row of the agent's database can have.
"""

RowId = Annotated[int, Path(ge=1, le=LARGEST, description="Its number, as the list has it.", examples=[1])]

name_part("section", "|".join(SECTIONS))
name_part("row", f"[0-9]{{1,{len(str(LARGEST))}}}")

SECTION: Final = "/{section:section}"
LETTER: Final = "/{letter_id:row}"
REVISION: Final = "/revisions/{revision_id:row}"
CLEANUP: Final = "/cleanups/{cleanup_id:row}"
