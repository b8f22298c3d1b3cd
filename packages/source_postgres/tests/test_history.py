"""
How tables were at a place: in force only from where every reader has marked it.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from postgres_bench import Database, marks_of, until_marked

from fustor_core.testing.source_contract import settle
from fustor_source_postgres.history import UNKNOWN, TableHistory

T, U = ("public", "t"), ("public", "u")
OLD, NEW = {T: "1"}, {T: "2"}


def read_again(folder: Path) -> TableHistory:
    return TableHistory(folder)


def test_a_state_counts_from_the_last_place_where_a_reader_marked_it(tmp_path: Path) -> None:
    """
    Whoever stopped between the marks of two readers is told of the change again; nobody misses it.
    """
    history = TableHistory(tmp_path)
    history.begin("a", "server", 100, OLD)
    history.begin("b", "server", 100, OLD)
    history.told("a", 200, NEW, 190)
    assert read_again(tmp_path).at("server", 250) == OLD, "the syncs of the other reader were not told"
    history.told("b", 300, NEW, 290)
    again = read_again(tmp_path)
    assert (again.at("server", 250), again.at("server", 300)) == (OLD, NEW)
    assert again.at("server", 99) is None, "too long ago to be known"
    assert again.at("another", 300) is None


def test_a_reader_that_begins_further_back_takes_newer_states_out_of_force(tmp_path: Path) -> None:
    """
    A sync that is split off reads what lies before a mark of the others: until its reader has marked it too, it does not count.
    """
    history = TableHistory(tmp_path)
    history.begin("a", "server", 100, OLD)
    history.told("a", 200, NEW, 190)
    assert read_again(tmp_path).at("server", 250) == NEW
    history.begin("b", "server", 150, OLD)
    assert read_again(tmp_path).at("server", 250) == OLD
    history.told("b", 400, NEW, 390)
    again = read_again(tmp_path)
    assert (again.at("server", 250), again.at("server", 400)) == (OLD, NEW)


def test_what_nobody_begins_before_is_forgotten(tmp_path: Path) -> None:
    """
    The newest state at or before a place stays, however old it is.
    """
    history = TableHistory(tmp_path)
    history.begin("a", "server", 100, OLD)
    history.told("a", 200, NEW, 190)
    history.passed(150)
    assert history.at("server", 150) == OLD
    history.passed(250)
    assert (history.at("server", 250), history.at("server", 150)) == (NEW, None)


def test_a_table_whose_rows_may_have_left_is_unknown_until_its_end_was_passed(tmp_path: Path) -> None:
    """
    It came and went between two states; it is forgotten by what was read behind it alone, as it may have been made anew.
    """
    history = TableHistory(tmp_path)
    history.begin("a", "server", 100, OLD)
    history.note("server", 150, [T, U])
    assert read_again(tmp_path).at("server", 100) == {**OLD, U: UNKNOWN}
    history.told("a", 200, NEW, 140)
    history.passed(250)
    assert read_again(tmp_path).at("server", 250) == {**NEW, U: UNKNOWN}, "it was made behind that look"
    history.told("a", 300, OLD, 290)
    history.passed(299)
    assert read_again(tmp_path).at("server", 299) == {**NEW, U: UNKNOWN}, "who begins here is to be told"
    history.passed(300)
    assert read_again(tmp_path).at("server", 300) == OLD
    assert read_again(tmp_path).at("another", 300) is None


def test_a_table_in_doubt_is_unknown_although_its_state_is_known(tmp_path: Path) -> None:
    """
    Until a look behind that has been told and passed, also when that found what was known before.
    """
    history = TableHistory(tmp_path)
    history.begin("a", "server", 100, OLD)
    history.note("server", 150, [T])
    assert read_again(tmp_path).at("server", 200) == OLD
    history.note("server", 160, [T], in_doubt=True)
    assert read_again(tmp_path).at("server", 200) == {T: UNKNOWN}
    history.told("a", 300, OLD, 290)
    history.passed(300)
    assert read_again(tmp_path).at("server", 300) == OLD


def test_a_second_reader_marks_what_the_first_has_marked_before(database: Database) -> None:
    """
    Two readers of one source, the second further back: each has the change of a table in its own stream, also after both began anew.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE u (id INT PRIMARY KEY)")
    first = database.driver()
    stream = database.stream(first)
    database.run("INSERT INTO t VALUES (1)")
    settle(stream, first)
    position = max(event.index for event in stream.events)
    database.run("ALTER TABLE u ADD COLUMN v INT DEFAULT 1")
    until_marked(stream, "u")
    place = marks_of(stream)[0].index
    database.run("INSERT INTO t VALUES (2)")
    settle(stream, first)
    second = database.driver()
    behind = database.stream(second, position)
    assert until_marked(behind, "u").index > place
    database.end(behind, second)
    database.end(stream, first)
    third = database.driver()
    again = database.stream(third, place)
    settle(again, third)
    assert not again.lost
    assert [mark.table for mark in marks_of(again)] == ["u"], "the second reader's mark lay behind this place"


def test_who_goes_on_where_nobody_knows_the_tables_hears_that_any_may_have_changed(database: Database) -> None:
    """
    A table was dropped while the agent was away, and what the driver knew of tables is lost, or too new: every table counts as
    changed, also in the stream after one that ended before it could say so.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE u (id INT PRIMARY KEY)")
    first = database.driver()
    stream = database.stream(first)
    database.run("INSERT INTO t VALUES (1)")
    settle(stream, first)
    position = max(event.index for event in stream.events)
    database.end(stream, first)
    database.run("DROP TABLE u")
    second = database.driver()
    second._history.passed(2**60)
    second._history._known.clear()
    untold = database.stream(second, position)
    database.end(untold, second)
    for _ in range(2):
        driver = database.driver()
        again = database.stream(driver, position)
        until_marked(again, "")
        database.end(again, driver)


@pytest.mark.parametrize("is_given", [False, True])
def test_a_table_that_came_and_went_behind_the_checkpoint_is_marked_as_gone(database: Database, is_given: bool) -> None:
    """
    Its rows left the driver, the checkpoint lies before them, and it was dropped while the agent was away: neither the tables of
    then nor those of now name it. The end is told once.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    if is_given:
        database.run("CREATE PUBLICATION fustor FOR ALL TABLES")
    first = database.driver()
    stream = database.stream(first)
    database.run("INSERT INTO t VALUES (1)")
    settle(stream, first)
    position = max(event.index for event in stream.events)
    database.run("CREATE TABLE n (id INT PRIMARY KEY)")
    if not is_given:
        until_marked(stream, "n")
    database.run("INSERT INTO n VALUES (1)")
    stream.until(lambda: any(event.table == "n" and event.rows for event in stream.events))
    database.end(stream, first)
    database.run("DROP TABLE n")
    for _ in range(2):
        driver = database.driver()
        again = database.stream(driver, position)
        assert until_marked(again, "n").reason == "the table is gone"
        settle(again, driver)
        passed = max(event.index for event in again.events)
        database.end(again, driver)
    last = database.driver()
    after = database.stream(last, passed)
    last.acknowledge(passed)
    settle(after, last)
    assert not marks_of(after)


def test_a_column_that_was_renamed_and_back_between_two_looks_is_marked(database: Database) -> None:
    """
    Rows of the shape in between left the driver, and the catalog looks as before: told in the stream, and to who is opened later.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE u (id INT PRIMARY KEY)")
    first = database.driver()
    stream = database.stream(first)
    database.run("INSERT INTO u VALUES (1)")
    settle(stream, first)
    position = max(event.index for event in stream.events)
    assert not marks_of(stream)
    there_and_back = "ALTER TABLE t RENAME v TO w; INSERT INTO t VALUES (1, 1); ALTER TABLE t RENAME w TO v; INSERT INTO t VALUES (2, 2)"
    database.run(
        *(
            f"BEGIN; {there_and_back.replace('(1, 1)', f'({at}, 1)').replace('(2, 2)', f'({at + 1}, 2)')}; COMMIT"
            for at in (1, 3)
        )
    )
    until_marked(stream, "t")
    rows = [event for event in stream.events if event.table == "t" and event.rows]
    assert {event.fields for event in rows} == {("id", "w"), ("id", "v")}
    database.end(stream, first)
    second = database.driver()
    again = database.stream(second, position)
    until_marked(again, "t")
    settle(again, second)
    assert [mark.table for mark in marks_of(again)] == ["t"], "told once"


def test_a_snapshot_that_reads_a_shape_between_two_looks_has_the_table_marked(database: Database) -> None:
    """
    It read a column that is gone before the catalog is looked at.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    assert not marks_of(stream)
    database.run("ALTER TABLE t RENAME v TO w")
    chunks = driver.get_snapshot_iterator(stop_event=threading.Event())
    assert [chunk.fields for chunk in chunks if chunk.rows] == [("id", "w")]
    database.run("ALTER TABLE t RENAME w TO v")
    until_marked(stream, "t")


def test_a_table_that_a_snapshot_did_not_find_is_marked_although_it_is_back(database: Database) -> None:
    """
    Under another name for a moment: the consumer removes what a whole snapshot did not show.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    driver = database.driver()
    stream = database.stream(driver)
    settle(stream, driver)
    assert not marks_of(stream)
    database.run("ALTER TABLE t RENAME TO elsewhere")
    assert not [chunk for chunk in driver.get_snapshot_iterator(stop_event=threading.Event()) if chunk.rows]
    database.run("ALTER TABLE elsewhere RENAME TO t")
    until_marked(stream, "t")


def test_a_table_that_can_not_be_read_is_not_marked_by_a_snapshot(database: Database) -> None:
    """
    It is found, and no state of it is known: that is how it stays.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE none (v INT)")
    database.run("ALTER TABLE none REPLICA IDENTITY NOTHING")
    driver = database.driver()
    stream = database.stream(driver)
    list(driver.get_snapshot_iterator(stop_event=threading.Event()))
    database.run("CREATE TABLE later (id INT PRIMARY KEY)")
    until_marked(stream, "later")
    assert {mark.table for mark in marks_of(stream)} == {"later"}
