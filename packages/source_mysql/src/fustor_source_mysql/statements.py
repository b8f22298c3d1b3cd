"""
Statements in the binary log: which of them change rows without telling the rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Place = tuple[str, str]
Effect = Literal["none", "begin", "commit", "rollback to", "rows as text", "schema", "rows gone", "rights"]

_TOKENS: Final = re.compile(
    r"""(?P<kept>`(?:[^`]|``)*`|"(?:[^"\\]|\\.|"")*")"""
    r"""|(?P<text>'(?:[^'\\]|\\.|'')*')"""
    r"""|/\*(?!!|M!).*?\*/|--(?=\s|$)[^\n]*|\#[^\n]*"""
    r"""|/\*M?!\d*|\*/""",
    re.DOTALL,
)
"""
What stands in no name's way: comments, wherever they are (gh-ost and many libraries put one into each of their statements), the brackets of
versioned ones, and what is in texts. What is in double quotes is a name when the server's `sql_mode` has ANSI_QUOTES.
"""
_NAME: Final = r"""(?:`(?:[^`]|``)+`|"(?:[^"]|"")+"|[^\s`".,(;]+)"""
_TABLE: Final = rf"{_NAME}(?:\s*\.\s*{_NAME})?"
_TABLES_OF: Final = (
    re.compile(rf"TRUNCATE\s+(?:TABLE\s+)?(?P<names>{_TABLE})", re.IGNORECASE),
    re.compile(rf"DROP\s+TABLES?\s+(?:IF\s+EXISTS\s+)?(?P<names>{_TABLE}(?:\s*,\s*{_TABLE})*)", re.IGNORECASE),
    re.compile(rf"ALTER\s+(?:ONLINE\s+)?(?:IGNORE\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?(?P<names>{_TABLE})", re.IGNORECASE),
    re.compile(rf"CREATE\s+OR\s+REPLACE\s+TABLE\s+(?P<names>{_TABLE})", re.IGNORECASE),
    re.compile(rf"DELETE\s+FROM\s+(?P<names>{_TABLE})", re.IGNORECASE),
)
_RENAME_IN_ALTER: Final = re.compile(
    rf"\bRENAME\s+(?!(?:COLUMN|INDEX|KEY)\b)(?:TO\s+|AS\s+|=\s*)?({_TABLE})", re.IGNORECASE
)
_EXCHANGE_IN_ALTER: Final = re.compile(rf"\bWITH\s+TABLE\s+({_TABLE})", re.IGNORECASE)
_RENAME: Final = re.compile(r"RENAME\s+TABLES?\s+(?:IF\s+EXISTS\s+)?", re.IGNORECASE)
_RENAMED: Final = re.compile(rf"({_TABLE})(?:\s+(?:WAIT\s+\d+|NOWAIT))?\s+TO\s+({_TABLE})", re.IGNORECASE)
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
        renamed: Old and new place of those of `tables` that were renamed, one after the other.
    """

    effect: Effect
    tables: tuple[Place, ...] = ()
    schema_gone: str | None = None
    is_drop: bool = False
    renamed: tuple[tuple[Place, Place], ...] = ()


def read_statement(text: str, schema: str) -> Statement:
    """
    Tell what a statement of the log does; `schema` is the one it was run in.
    """
    if text == "BEGIN":
        return Statement("begin")  # nearly all that there are
    plain = _TOKENS.sub(_without, text).strip()
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
            tables = tuple(_split(name, schema) for name in re.findall(_TABLE, found["names"]))
            if first == "ALTER":
                return _altered(tables[0], plain[found.end() :], schema)
            return Statement("rows gone", tables, is_drop=first == "DROP")
    found = _RENAME.match(plain)
    if found:
        pairs = tuple((_split(old, schema), _split(new, schema)) for old, new in _RENAMED.findall(plain, found.end()))
        return Statement("rows gone", tuple(place for pair in pairs for place in pair), renamed=pairs)
    found = _DROP_SCHEMA.match(plain)
    if found:
        return Statement("rows gone", schema_gone=_bare(found["name"]))
    return Statement("schema")


def _altered(table: Place, rest: str, schema: str) -> Statement:
    names = [_split(name, schema) for name in _RENAME_IN_ALTER.findall(rest)]
    others = [_split(name, schema) for name in _EXCHANGE_IN_ALTER.findall(rest)]
    return Statement("rows gone", (table, *names, *others), renamed=tuple((table, name) for name in names[-1:]))


def _without(token: re.Match[str]) -> str:
    return token["kept"] or ("''" if token["text"] else " ")


def _split(name: str, schema: str) -> tuple[str, str]:
    parts = re.findall(_NAME, name)
    return (_bare(parts[0]), _bare(parts[1])) if len(parts) > 1 else (schema, _bare(parts[0]))


def _bare(name: str) -> str:
    quote = name[0]
    return name[1:-1].replace(quote * 2, quote) if quote in '`"' else name
