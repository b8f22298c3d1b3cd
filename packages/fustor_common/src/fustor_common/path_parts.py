"""
Parts of paths that only what they are named for fits into: a route takes no path that belongs to another one, and a method that a path does
not know is answered 405.
"""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor


def name_part(name: str, pattern: str) -> None:
    """
    Let routes write `{parameter:name}` for a part of their path that matches a pattern; it is passed on as it is.
    """

    class _AsItIs(Convertor[str]):
        regex = pattern

        def convert(self, value: str) -> str:
            return value

        def to_string(self, value: str) -> str:
            return value

    register_url_convertor(name, _AsItIs())
