"""
The columns of a table follow its source.
"""

from __future__ import annotations

from typing import Any

from ingest_bench import Fusion

from fustor_core.models.envelope import WireEvent

INT, TEXT = {"type": "integer"}, {"type": "string"}


def change(
    kind: str, index: int, columns: dict[str, Any], *rows: dict[str, Any], key: list[str] | None = None, **more: Any
) -> WireEvent:
    fields, values = list(rows[0]), [list(row.values()) for row in rows]
    return WireEvent(kind, "db", "users", fields, values, index, key or ["id"], columns=columns, **more)  # type: ignore[arg-type]


async def columns_of(fusion: Fusion) -> dict[str, Any]:
    answer = await fusion.http.get("/views/tables")
    (table,) = answer.json()["rows"]
    found: dict[str, Any] = table["columns"]
    return found


async def test_a_dropped_column_goes_and_a_new_one_comes(fusion: Fusion) -> None:
    """
    What the newest event tells is the schema; an update that carries all of that is a whole row, without what was dropped.
    """
    session = (await fusion.open())["session_id"]
    before = {"id": INT, "name": TEXT, "old": TEXT}
    await fusion.push(session, change("insert", 10, before, {"id": 1, "name": "a", "old": "x"}), epoch=1)
    assert await columns_of(fusion) == before
    after = {"id": INT, "name": TEXT, "new": INT}
    await fusion.push(session, change("update", 20, after, {"id": 1, "name": "b", "new": 7}), epoch=1)
    assert await columns_of(fusion) == after
    assert await fusion.rows() == [{"id": 1, "name": "b", "new": 7}]
    # A chunk that was read before the change, and comes after it, does not bring the old schema back.
    await fusion.push(session, change("insert", 12, before, {"id": 2, "name": "c", "old": "y"}), epoch=1)
    assert "old" not in await columns_of(fusion)


async def test_an_update_with_some_of_the_columns_leaves_the_others(fusion: Fusion) -> None:
    """
    The columns that an event tells say what a whole row has; fewer fields are a partial update.
    """
    session = (await fusion.open())["session_id"]
    columns = {"id": INT, "name": TEXT, "big": TEXT}
    await fusion.push(session, change("insert", 10, columns, {"id": 1, "name": "a", "big": "B"}), epoch=1)
    await fusion.push(session, change("update", 20, columns, {"id": 1, "name": "b"}), epoch=1)
    assert await fusion.rows() == [{"id": 1, "name": "b", "big": "B"}]
    assert set(await columns_of(fusion)) == set(columns)


async def test_a_table_that_gets_another_key_is_begun_anew_and_asked_for(fusion: Fusion) -> None:
    """
    Its rows can't be told apart by the old key any more; nothing is refused, and a snapshot of that table is wanted until it came.
    """
    session = (await fusion.open())["session_id"]
    columns = {"id": INT, "code": TEXT}
    whole = {"source_type": "snapshot", "snapshot_id": "s1", "epoch": 1}
    await fusion.push(session, WireEvent(index=5), **whole)
    await fusion.push(session, change("insert", 5, columns, {"id": 1, "code": "a"}, {"id": 2, "code": "b"}), **whole)
    answer = await fusion.push(session, is_snapshot_end=True, checkpoint=5, **whole)
    assert not answer.get("snapshot_needed")
    answer = await fusion.push(session, change("insert", 20, columns, {"id": 3, "code": "c"}, key=["code"]), epoch=1)
    assert answer["snapshot_needed"] and answer["snapshot_request"] == {"tables": ["db.users"]}
    assert await fusion.rows() == [{"id": 3, "code": "c"}]
    late = await fusion.push(session, change("insert", 12, columns, {"id": 1, "code": "old"}), epoch=1)
    assert late["stale"] == 1, "what still has the old key is older"
    again = {**whole, "snapshot_id": "s2"}
    await fusion.push(session, WireEvent(event_schema="db", table="users", index=20), **again)
    rows = [{"id": n, "code": code} for n, code in ((1, "a"), (2, "b"), (3, "c"))]
    await fusion.push(session, change("insert", 21, columns, *rows, key=["code"]), **again)
    answer = await fusion.push(session, is_snapshot_end=True, checkpoint=21, **again)
    assert not answer.get("snapshot_needed")
    assert sorted(await fusion.rows(), key=str) == sorted(rows, key=str)
