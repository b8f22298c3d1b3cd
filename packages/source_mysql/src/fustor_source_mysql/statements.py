"""
Statements in the binary log: which of them change rows without telling the rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Effect = Literal["none", "begin", "commit", "rollback to", "rows as text", "schema", "rows gone", "rights"]

_COMMENTS: Final = re.compile(r"\s*(?:/\*(?!!|M!).*?\*/\s*|--[^\n]*\n\s*|#[^\n]*\n\s*)*", re.DOTALL)
_VERSIONED: Final = re.compile(r"/\*M?!\d*\s?|\*/")
_NAME: Final = r"(?:`(?:[^`]|``)+`|[^\s`.,(;]+)"
_TABLE: Final = rf"{_NAME}(?:\s*\.\s*{_NAME})?"
_TABLES_OF: Final = (
    re.compile(rf"TRUNCATE\s+(?:TABLE\s+)?(?P<names>{_TABLE})", re.IGNORECASE),
    re.compile(rf"DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?P<names>{_TABLE}(?:\s*,\s*{_TABLE})*)", re.IGNORECASE),
    re.compile(rf"ALTER\s+(?:ONLINE\s+)?(?:IGNORE\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?(?P<names>{_TABLE})", re.IGNORECASE),
    re.compile(rf"CREATE\s+OR\s+REPLACE\s+TABLE\s+(?P<names>{_TABLE})", re.IGNORECASE),
    re.compile(rf"DELETE\s+FROM\s+(?P<names>{_TABLE})", re.IGNORECASE),
)
_OTHERS_OF_ALTER: Final = re.compile(
    rf"(?:\bRENAME\s+(?!(?:COLUMN|INDEX|KEY)\b)(?:TO\s+|AS\s+|=\s*)?|\bWITH\s+TABLE\s+)({_TABLE})", re.IGNORECASE
)
"""
The other table of ALTER TABLE: its new name, or the one that a partition is exchanged with. Perhaps some text that looks like one: then
a table is named that is not there, or one that is read once more.
"""
_RENAME: Final = re.compile(r"RENAME\s+TABLES?\s+(?:IF\s+EXISTS\s+)?(?P<names>.*)", re.IGNORECASE | re.DOTALL)
_DROP_SCHEMA: Final = re.compile(rf"DROP\s+(?:DATABASE|SCHEMA)\s+(?:IF\s+EXISTS\s+)?(?P<name>{_NAME})", re.IGNORECASE)
_WITH_ROWS: Final = re.compile(r"\bSTART\s+TRANSACTION\s*$", re.IGNORECASE)
_ROWS_AS_TEXT: Final = re.compile(r"(?:INSERT|UPDATE|REPLACE|LOAD|MERGE)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """
    What a statement does.

    Attributes:
        effect: "rows gone" says that rows of `tables` (or of all of `schema_gone`) changed without being told one by one; "rights", that
            somebody may read more or less.
        tables: Schema and name.
        is_drop: Whether `tables` are not there any more.
    """

    effect: Effect
    tables: tuple[tuple[str, str], ...] = ()
    schema_gone: str | None = None
    is_drop: bool = False


def read_statement(text: str, schema: str) -> Statement:
    """
    Tell what a statement of the log does; `schema` is the one it was run in.
    """
    plain = _VERSIONED.sub(" ", _COMMENTS.sub("", text, count=1)).strip()
    words = plain[:40].upper().split()
    first = words[0].rstrip(";") if words else ""
    if first == "BEGIN":
        return Statement("begin")
    if first == "COMMIT":
        return Statement("commit")
    if first == "ROLLBACK":
        return Statement("rollback to" if len(words) > 1 and words[1] == "TO" else "commit")
    if first == "CREATE" and _WITH_ROWS.search(plain):
        return Statement("begin")  # CREATE TABLE ... SELECT of MySQL: the rows and the commit follow
    if first in ("SAVEPOINT", "RELEASE", "SET", "FLUSH", "ANALYZE", "OPTIMIZE"):
        return Statement("none")
    if first in ("GRANT", "REVOKE"):
        return Statement("rights")
    if _ROWS_AS_TEXT.match(plain):
        return Statement("rows as text")
    for pattern in _TABLES_OF:
        found = pattern.match(plain)
        if found:
            names = re.findall(_TABLE, found["names"])
            if plain[:5].upper() == "ALTER":
                names += _OTHERS_OF_ALTER.findall(plain, found.end())
            is_drop = plain[:4].upper() == "DROP"
            return Statement("rows gone", tuple(_split(name, schema) for name in names), is_drop=is_drop)
    found = _RENAME.match(plain)
    if found:
        pairs = re.split(
            r"\s*,\s*|\s+TO\s+|\s+(?:WAIT\s+\d+|NOWAIT)\s+", found["names"].strip().rstrip(";"), flags=re.IGNORECASE
        )
        return Statement("rows gone", tuple(_split(name, schema) for name in pairs if name))
    found = _DROP_SCHEMA.match(plain)
    if found:
        return Statement("rows gone", schema_gone=_bare(found["name"]))
    return Statement("schema")


def _split(name: str, schema: str) -> tuple[str, str]:
    parts = re.findall(_NAME, name)
    return (_bare(parts[0]), _bare(parts[1])) if len(parts) > 1 else (schema, _bare(parts[0]))


def _bare(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name
