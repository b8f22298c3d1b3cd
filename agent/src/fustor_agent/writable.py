"""
Text that UTF-8 can't write, for answers, logs and databases, which know only UTF-8.
"""

from __future__ import annotations


def is_writable(text: str) -> bool:
    """
    Tell whether UTF-8 can write a text: not one with lone surrogates (halves of characters, bytes of file names).
    """
    return writable(text) == text


def writable(text: str) -> str:
    """
    Return a text with escapes in place of what UTF-8 can't write.
    """
    return text.encode("utf-8", "backslashreplace").decode()
