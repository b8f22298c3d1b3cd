"""
Writes YAML as it stands in a configuration file: in the order given, in blocks, no line folded.
"""

from __future__ import annotations

import io
from typing import Any, Final

from ruamel.yaml import YAML

WIDTH: Final = 4096
"""
Longest line: what a person has in one line stays in one.
"""


def block(content: Any) -> str:
    """
    Return `content` as lines.
    """
    return _written(content, flow=False)


def inline(value: Any) -> str:
    """
    Return a value as it stands behind `key: `.
    """
    return _written(value, flow=True).removesuffix("...\n").rstrip("\n")


def _written(content: Any, *, flow: bool) -> str:
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = flow
    yaml.sort_base_mapping_type_on_output = False
    yaml.allow_unicode = True
    yaml.width = WIDTH
    out = io.StringIO()
    yaml.dump(content, out)
    return out.getvalue()
