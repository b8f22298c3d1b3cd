"""
Applying rows of files: the hot path of the whole product.

Rows mostly come in the order of a walk, so neighbours that share a parent are handled as a group; whatever can be done for a group in
C (itemgetter, map, count, sum, join) is. Rows of a directory that was unknown until now need no look at what is stored. New rows wait
and are written many to a statement; everything else is settled row by row against what is stored.

Counters of directories are changed by what an event changed, once per event (`totals`).
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, groupby, repeat
from operator import itemgetter
from typing import Any, Final

from fustor_core.errors import InvalidRequest
from fustor_core.models.envelope import WireEvent
from fustor_core.models.file_row import FILE_FIELDS
from fustor_fusion.views.base import Applied, Stream
from fustor_fusion.views.fs.memory import Memory
from fustor_fusion.views.fs.schema import DELETED, DIR, FILE, GHOST, KIND_OF_TYPE, NAMES_PER_DOC, OTHER, folded_or_none
from fustor_fusion.views.fs.totals import BYTES, DOWN, ROWS, UP, Directory, Totals

VALUES: Final = ("size", "mtime", "ctime", "mode", "uid", "gid", "inode", "target")
_COUNTED: Final = ("size", "mtime")  # never null
_BLANK: Final = (0, 0, None, None, None, None, None, None)
_ROWS_AT_ONCE: Final = 32
_INSERT_HEAD: Final = "INSERT INTO fs_entries (dir, name, kind, size, mtime, ctime, mode, uid, gid, inode, target, epoch, idx, run, doc) VALUES "
_ONE: Final = "(" + ",".join("?" * 15) + ")"
_INSERT: Final = _INSERT_HEAD + _ONE
_INSERT_MANY: Final = _INSERT_HEAD + ",".join(repeat(_ONE, _ROWS_AT_ONCE))
_UPDATE: Final = """
    UPDATE fs_entries SET kind = ?, size = ?, mtime = ?, ctime = ?, mode = ?, uid = ?, gid = ?, inode = ?, target = ?,
        epoch = ?, idx = ?, run = ?, doc = ? WHERE dir = ? AND name = ?
"""
_COLUMNS: Final = "name, kind, size, mtime, ctime, mode, uid, gid, inode, target, epoch, idx, run, doc"
_ALL: Final = f"SELECT {_COLUMNS} FROM fs_entries WHERE dir = ?"
_NAMED: Final = f"SELECT {_COLUMNS} FROM fs_entries WHERE dir = ? AND name IN (SELECT value FROM json_each(?))"
_BY_NAME: Final = f"SELECT {_COLUMNS} FROM fs_entries WHERE dir = ? AND name = ?"
_SIGNED_END: Final = 2**63
_HINT: Final = "see `fustor_core.models.file_row` for the fields of a file and their types"

Row = Sequence[Any]


class Shape:
    """
    Where the fields of an event's rows are.

    Raises:
        InvalidRequest: There is no `path`.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        at = {name: i for i, name in enumerate(fields)}
        if "path" not in at:
            raise InvalidRequest(f"rows of files need the field `path`, and have {list(fields)!r}", hint=_HINT)
        self.width = len(fields)
        self.path: int = at["path"]
        self.parent = at.get("parent")
        self.name = at.get("name")
        self.kind = at.get("type")
        self.at = at
        self.values: Callable[[Row], tuple[Any, ...]] | None = None
        if all(name in at for name in VALUES) and self.kind is not None:
            self.values = itemgetter(*(at[name] for name in VALUES))


class Applier:
    """
    Applies the rows of events. Belongs to the applier thread.
    """

    def __init__(self) -> None:
        self.memory = Memory()
        self._totals = Totals()
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self._new: list[tuple[Any, ...]] = []
        self._docs: list[tuple[int, int, str, str | None]] = []
        self._waiting: set[int] = set()  # directories with rows in `_new`

    def reset(self) -> None:
        """
        Forget everything: what was applied last was rolled back, or may have been.
        """
        self.memory.forget()
        self._totals.clear()
        self._new.clear()
        self._docs.clear()
        self._waiting.clear()

    def apply(self, conn: sqlite3.Connection, stream: Stream, event: WireEvent, listening: bool) -> Applied:
        """
        Apply the rows of one event, as `fustor_fusion.views.base.View.apply` says.
        """
        applied = Applied()
        if not event.rows:
            return applied
        try:
            self.memory.begin(conn)
            tree = self.memory.tree(conn, stream.task_id, event.event_schema)
            for fields, rows in _aligned(event):
                shape = self._shape(fields)
                task = _Task(stream, event, tree, shape, applied, listening)
                if event.event_type == "delete":
                    self._delete(conn, task, rows)
                else:
                    self._upsert(conn, task, rows)
            self._flush(conn)
            self._totals.write(conn)
            conn.execute(
                "UPDATE fs_trees SET last_index = max(last_index, ?), changed_at = CASE WHEN ? THEN ? ELSE changed_at END"
                " WHERE id = ?",
                (event.index, applied.applied > 0, time.time_ns(), tree),
            )
            self.memory.end(conn)
        except (
            sqlite3.IntegrityError,
            sqlite3.InterfaceError,
            sqlite3.ProgrammingError,
            OverflowError,
            TypeError,
        ) as e:
            self.reset()
            raise _explain(event, e) from e
        except BaseException:
            self.reset()
            raise
        return applied

    def _shape(self, fields: tuple[str, ...]) -> Shape:
        shape = self._shapes.get(fields)
        if shape is None:
            if len(self._shapes) > 64:
                self._shapes.clear()
            shape = self._shapes[fields] = Shape(fields)
        return shape

    # Inserts and updates

    def _upsert(self, conn: sqlite3.Connection, task: _Task, rows: Sequence[Row]) -> None:
        for path, group, names in _groups(rows, task.shape):
            if path is None:
                self._apply_root(conn, task, group)
                continue
            directory, fresh = self.memory.directory(conn, task.tree, path)
            if fresh and task.shape.values is not None and len(set(names)) == len(names):
                self._add_all(task, directory, names, group)
            else:
                self._settle(conn, task, directory, path, names, group)
                continue
            if task.listening:
                task.tell_all(group)

    def _add_all(self, task: _Task, directory: Directory, names: Sequence[str], group: Sequence[Row]) -> None:
        """
        Add rows to a directory that has none.
        """
        shape = task.shape
        kinds = list(map(KIND_OF_TYPE.get, map(itemgetter(shape.kind), group)))
        values = list(map(shape.values, group))  # type: ignore[arg-type]
        try:
            top = max(map(itemgetter(6), values))
            newest = max(map(itemgetter(1), values))
            sizes = list(map(itemgetter(0), values))
            size = sum(sizes)
            plain = top < _SIGNED_END
        except TypeError:  # a null or a text among them
            plain = False
        if None in kinds or not plain:
            kinds = [_kind(row[shape.kind]) for row in group]  # type: ignore[index]
            values = [_tidy(v) for v in values]
            newest = max(v[1] for v in values)
            sizes = [v[0] for v in values]
            size = sum(sizes)
        counted = self._totals.of(directory)
        files = kinds.count(FILE)
        if files == len(kinds):
            counted[FILE] += files
            counted[BYTES] += size
        else:
            for kind in kinds:
                counted[kind] += 1  # type: ignore[index]
            counted[BYTES] += sum(s for s, k in zip(sizes, kinds, strict=True) if k == FILE)
        counted[ROWS] += len(names)
        if newest > counted[UP]:
            counted[UP] = newest
        directory.rows += len(names)
        epoch, index, run = task.epoch, task.index, task.run
        d = directory.id
        new = self._new
        for i in range(0, len(names), NAMES_PER_DOC):
            part = names[i : i + NAMES_PER_DOC]
            doc = self._document(d, part)
            end = i + NAMES_PER_DOC
            new += [
                (d, name, kind, *v, epoch, index, run, doc)
                for name, kind, v in zip(part, kinds[i:end], values[i:end], strict=True)
            ]
        self._waiting.add(d)
        task.applied.applied += len(names)

    def _settle(
        self,
        conn: sqlite3.Connection,
        task: _Task,
        directory: Directory,
        path: str,
        names: Sequence[str],
        group: Sequence[Row],
    ) -> None:
        """
        Settle each row against what is stored under its name.
        """
        stored = self._stored(conn, directory, names)
        d = directory.id
        epoch, index, run = task.epoch, task.index, task.run
        applied = task.applied
        changed: list[tuple[Any, ...]] = []
        confirmed: list[tuple[Any, ...]] = []
        added: list[tuple[str, int, tuple[Any, ...]]] = []
        counted = self._totals.of(directory)
        seen: set[str] = set()
        for name, row in zip(names, group, strict=True):
            if name in seen:  # twice in one group: the later one meets what the earlier one left
                self._write_settled(conn, task, directory, changed, confirmed, added)
                self._flush(conn)
                stored.update((r[0], r) for r in conn.execute(_BY_NAME, (d, name)))
            seen.add(name)
            old = stored.get(name)
            if old is None:
                kind, values = task.read(row, None)
                added.append((name, kind, values))
                counted[kind] += 1
                counted[ROWS] += 1
                directory.rows += 1
            else:
                old_kind = old[1]
                if old[10] > epoch or (old[10] == epoch and old[11] > index):
                    applied.stale += 1
                    if run and old[12] != run:
                        confirmed.append((old[10], old[11], run, d, name))
                    continue
                kind, values = task.read(row, old)
                if kind == old_kind and values == old[2:10]:
                    confirmed.append((epoch, index, run or old[12], d, name))
                    continue
                doc = old[13] or self._document(d, (name,))
                changed.append((kind, *values, epoch, index, run or old[12], doc, d, name))
                if old_kind >= 0:
                    counted[old_kind] -= 1
                    if old_kind == FILE:
                        counted[BYTES] -= old[2]
                    if old[3] > values[1] and old[3] > counted[DOWN]:
                        counted[DOWN] = old[3]
                counted[kind] += 1
            if kind == FILE:
                counted[BYTES] += values[0]
            if values[1] > counted[UP]:
                counted[UP] = values[1]
            applied.applied += 1
            if task.listening:
                task.tell(f"{path}/{name}" if path else name, name, path, kind, values)
        self._write_settled(conn, task, directory, changed, confirmed, added)

    def _write_settled(
        self,
        conn: sqlite3.Connection,
        task: _Task,
        directory: Directory,
        changed: list[tuple[Any, ...]],
        confirmed: list[tuple[Any, ...]],
        added: list[tuple[str, int, tuple[Any, ...]]],
    ) -> None:
        if changed:
            conn.executemany(_UPDATE, changed)
            changed.clear()
        if confirmed:
            conn.executemany("UPDATE fs_entries SET epoch = ?, idx = ?, run = ? WHERE dir = ? AND name = ?", confirmed)
            confirmed.clear()
        if added:
            d = directory.id
            for i in range(0, len(added), NAMES_PER_DOC):
                part = added[i : i + NAMES_PER_DOC]
                doc = self._document(d, [a[0] for a in part])
                self._new += [(d, name, kind, *v, task.epoch, task.index, task.run, doc) for name, kind, v in part]
            self._waiting.add(d)
            added.clear()

    def _stored(self, conn: sqlite3.Connection, directory: Directory, names: Sequence[str]) -> dict[str, Row]:
        d = directory.id
        if d in self._waiting or self.memory.owes_ghosts(d):
            self._flush(conn)
        found: sqlite3.Cursor
        if len(names) == 1:
            found = conn.execute(_BY_NAME, (d, names[0]))
        elif directory.rows <= 3 * len(names):
            found = conn.execute(_ALL, (d,))
        else:
            found = conn.execute(_NAMED, (d, json.dumps(names, ensure_ascii=False)))
        return {row[0]: row for row in found}

    def _apply_root(self, conn: sqlite3.Connection, task: _Task, group: Sequence[Row]) -> None:
        """
        Apply rows of the root itself: not counted, and not found by search.
        """
        self.memory.directory(conn, task.tree, "")
        self._flush(conn)
        for row in group:
            old = conn.execute(_BY_NAME, (-task.tree, "")).fetchone()
            if (old[10], old[11]) > (task.epoch, task.index):
                task.applied.stale += 1
                if task.run:
                    conn.execute("UPDATE fs_entries SET run = ? WHERE dir = ? AND name = ''", (task.run, -task.tree))
                continue
            kind, values = task.read(row, old)
            same = kind == old[1] and values == old[2:10]
            conn.execute(_UPDATE, (kind, *values, task.epoch, task.index, task.run or old[12], 0, -task.tree, ""))
            if not same:
                task.applied.applied += 1
                if task.listening:
                    task.tell("", root_name(task.event.event_schema), None, kind, values)

    # Deletes

    def _delete(self, conn: sqlite3.Connection, task: _Task, rows: Sequence[Row]) -> None:
        epoch, index = task.epoch, task.index
        for path, group, names in _groups(rows, task.shape):
            if path is None:
                self.memory.directory(conn, task.tree, "")
                self._flush(conn)
                old = conn.execute(_BY_NAME, (-task.tree, "")).fetchone()
                if (old[10], old[11]) > (epoch, index):
                    task.applied.stale += len(group)
                else:
                    conn.execute(_UPDATE, (GHOST, *_BLANK, epoch, index, task.run or old[12], 0, -task.tree, ""))
                    if old[1] >= 0:
                        task.applied.applied += 1
                        task.tell_deleted("")
                continue
            directory, _ = self.memory.directory(conn, task.tree, path)
            stored = self._stored(conn, directory, names)
            counted = self._totals.of(directory)
            d = directory.id
            for name in dict.fromkeys(names):
                old = stored.get(name)
                if old is None:
                    self._new.append((d, name, DELETED, *_BLANK, epoch, index, task.run, 0))
                    self._waiting.add(d)
                    counted[ROWS] += 1
                    directory.rows += 1
                    continue
                kind = old[1]
                if (old[10], old[11]) > (epoch, index):
                    task.applied.stale += 1
                    continue
                gone = f"{path}/{name}" if path else name
                left = GHOST if kind in (DIR, GHOST) or _is_directory(conn, task.tree, gone) else DELETED
                conn.execute(_UPDATE, (left, *_BLANK, epoch, index, task.run or old[12], old[13], d, name))
                if kind >= 0:
                    uncount(counted, kind, old[2], old[3])
                    task.applied.applied += 1
                    task.tell_deleted(gone)

    # Writing what waits

    def _document(self, d: int, names: Sequence[str]) -> int:
        doc = self.memory.next_doc
        self.memory.next_doc = doc + 1
        text = "/".join(names)
        # A directory's path was checked; a name can only go wrong by what separates names.
        if text.count("/") != len(names) - 1 or "\0" in text or "" in names:
            raise InvalidRequest(f"a name is empty or holds `/` or NUL, among {list(names)[:10]!r}", hint=_HINT)
        self._docs.append((doc, d, text, folded_or_none(text)))
        return doc

    def _flush(self, conn: sqlite3.Connection) -> None:
        new = self._new
        if new:
            whole = len(new) // _ROWS_AT_ONCE * _ROWS_AT_ONCE
            for i in range(0, whole, _ROWS_AT_ONCE):
                conn.execute(_INSERT_MANY, list(chain.from_iterable(new[i : i + _ROWS_AT_ONCE])))
            if whole < len(new):
                conn.executemany(_INSERT, new[whole:])
            new.clear()
            self._waiting.clear()
        if self._docs:
            conn.executemany("INSERT INTO fs_names VALUES (?, ?, ?, ?)", self._docs)
            self._docs.clear()
        self.memory.write_ghosts(conn)


class _Task:
    """
    What holds for all rows of one event.
    """

    __slots__ = ("applied", "epoch", "event", "index", "listening", "run", "shape", "stream", "tree")

    def __init__(
        self, stream: Stream, event: WireEvent, tree: int, shape: Shape, applied: Applied, listening: bool
    ) -> None:
        self.stream = stream
        self.event = event
        self.tree = tree
        self.shape = shape
        self.applied = applied
        self.listening = listening
        self.epoch = stream.epoch
        self.index = event.index
        self.run = stream.run or 0

    def read(self, row: Row, old: Row | None) -> tuple[int, tuple[Any, ...]]:
        """
        Return the kind and the values of a row. A column that an update leaves out is as it was.
        """
        shape = self.shape
        if shape.values is not None:
            kind = KIND_OF_TYPE.get(row[shape.kind])  # type: ignore[index]
            return (_kind(row[shape.kind]) if kind is None else kind), _tidy(shape.values(row))  # type: ignore[index]
        keep = self.event.event_type == "update" and old is not None and old[1] >= 0
        before: Row = old[2:10] if keep and old is not None else _BLANK
        values = tuple(row[shape.at[n]] if n in shape.at else before[i] for i, n in enumerate(VALUES))
        if shape.kind is not None:
            kind = _kind(row[shape.kind])
        else:
            kind = old[1] if keep and old is not None else OTHER
        return kind, _tidy(values)

    def tell_all(self, group: Sequence[Row]) -> None:
        shape = self.shape
        for row in group:
            path = row[shape.path]
            parent, _, name = path.rpartition("/")
            kind, values = self.read(row, None)
            self.tell(path, name, parent, kind, values)

    def tell(self, path: str, name: str, parent: str | None, kind: int, values: tuple[Any, ...]) -> None:
        type_ = next(t for t, k in KIND_OF_TYPE.items() if k == kind)
        row = dict(zip(FILE_FIELDS, (path, name, parent, type_, *values), strict=True))
        if row["inode"] is not None and row["inode"] < 0:
            row["inode"] += 2**64
        self._tell("update" if self.event.event_type == "update" else "insert", path, row)

    def tell_deleted(self, path: str) -> None:
        if self.listening:
            self._tell("delete", path, None)

    def _tell(self, op: str, path: str, row: dict[str, Any] | None) -> None:
        event = self.event
        change = {
            "op": op,
            "task_id": self.stream.task_id,
            "schema": event.event_schema,
            "table": event.table,
            "key": [path],
            "row": row,
            "index": event.index,
            "epoch": self.epoch,
            "ts": event.ts,
        }
        self.applied.changes.append(change)


def uncount(counted: list[int], kind: int, size: int, mtime: int) -> None:
    """
    Take a live entry out of the counters of its directory.
    """
    counted[kind] -= 1
    if kind == FILE:
        counted[BYTES] -= size
    if mtime > counted[DOWN]:
        counted[DOWN] = mtime


def _is_directory(conn: sqlite3.Connection, tree: int, path: str) -> bool:
    """
    Tell whether anything is or was below a path, whatever its own row says.
    """
    return conn.execute("SELECT 1 FROM fs_dirs WHERE tree = ? AND path = ?", (tree, path)).fetchone() is not None


def root_name(root: str) -> str:
    """
    Return the name of the directory that a root's URI points at.
    """
    return root.rstrip("/").rpartition("/")[2] or "/"


def _aligned(event: WireEvent) -> Iterator[tuple[tuple[str, ...], Sequence[Row]]]:
    """
    Give rows as sequences: as they are, or from dicts, those with the same fields together.
    """
    rows = event.rows
    if not isinstance(rows[0], Mapping):
        fields = tuple(event.fields)
        width = len(fields)
        if not {list, tuple}.issuperset(map(type, rows)) or set(map(len, rows)) != {width}:
            at = next(i for i, row in enumerate(rows) if type(row) not in (list, tuple) or len(row) != width)
            raise InvalidRequest(
                f"row {at} of {event.table!r} of {event.event_schema!r} does not have the {width} values of `fields`: {rows[at]!r}",
                hint=_HINT,
            )
        yield fields, rows
        return
    for at, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidRequest(f"row {at} of {event.table!r} is not an object, and the first one is", hint=_HINT)
    for fields, group in groupby(rows, tuple):
        yield fields, [tuple(row.values()) for row in group]


def _groups(rows: Sequence[Row], shape: Shape) -> Iterator[tuple[str | None, Sequence[Row], Sequence[str]]]:
    """
    Give neighbours that are in one directory: its path (None: these are the root itself), the rows, their names.
    """
    get_path = itemgetter(shape.path)
    if shape.parent is not None and shape.name is not None:
        get_name = itemgetter(shape.name)
        for parent, neighbours in groupby(rows, itemgetter(shape.parent)):
            group = list(neighbours)
            names = list(map(get_name, group))
            paths = list(map(get_path, group))
            if (
                type(parent) is str
                and "" not in names
                and paths == (names if not parent else list(map((parent + "/").__add__, names)))
            ):
                yield parent, group, names
            else:  # the path is the key: it counts when the others do not fit
                yield from _split(group, paths)
    else:
        yield from _split(rows, list(map(get_path, rows)))


def _split(rows: Sequence[Row], paths: Sequence[Any]) -> Iterator[tuple[str | None, Sequence[Row], Sequence[str]]]:
    def directory(pair: tuple[Any, Row]) -> str | None:
        path = pair[0]
        if type(path) is not str or path[:1] == "/" or path[-1:] == "/" or "\0" in path:
            raise InvalidRequest(
                f"{path!r} is not the path of a file",
                hint="a path is text, relative to the root, without `/` at its ends",
            )
        return path.rpartition("/")[0] if path else None

    for above, pairs in groupby(zip(paths, rows, strict=True), directory):
        held = list(pairs)
        yield above, [row for _, row in held], [path.rpartition("/")[2] for path, _ in held]


def _kind(value: Any) -> int:
    if value is None:
        return OTHER
    kind = KIND_OF_TYPE.get(value) if isinstance(value, str) else None
    if kind is None:
        raise InvalidRequest(f"{value!r} is not a type of file; these are: {', '.join(KIND_OF_TYPE)}", hint=_HINT)
    return kind


def _tidy(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """
    Make values storable: size and mtime are never null, and inodes past the signed range wrap around (undone when read).
    """
    size, mtime, *others = values
    inode = values[6]
    if type(size) is int and type(mtime) is int and (inode is None or (type(inode) is int and inode < _SIGNED_END)):
        return values
    for name, value in zip(VALUES[:-1], values, strict=False):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise InvalidRequest(f"`{name}` is {value!r}, and must be a whole number or null", hint=_HINT)
    if inode is not None and inode >= _SIGNED_END:
        inode -= 2**64
    return (size or 0, mtime or 0, *others[:4], inode, values[7])


def _explain(event: WireEvent, error: Exception) -> InvalidRequest:
    """
    Name the row that the database did not take.
    """
    fields = event.fields or (list(event.rows[0]) if isinstance(event.rows[0], Mapping) else [])
    for at, row in enumerate(event.rows):
        values = row if isinstance(row, Mapping) else dict(zip(fields, row, strict=False))
        for name, value in values.items():
            text = name in ("path", "name", "parent", "target", "type")
            fits = value is None or (
                isinstance(value, str) if text else isinstance(value, int) and abs(value) < _SIGNED_END
            )
            if (
                name in FILE_FIELDS
                and not fits
                and not (name == "inode" and isinstance(value, int) and 0 <= value < 2**64)
            ):
                return InvalidRequest(
                    f"row {at} of {event.table!r} of {event.event_schema!r} can't be stored: `{name}` is {value!r}",
                    hint=_HINT,
                    context={"row": at, "field": name},
                )
    return InvalidRequest(
        f"rows of {event.table!r} of {event.event_schema!r} can't be stored: {error}",
        hint=_HINT,
        context={"rows": len(event.rows)},
    )
