"""
Sessions end by themselves, and no cookie that was not given out opens one.
"""

from __future__ import annotations

import httpx
import pytest

from fustor_web_ui.sessions import Session, Sessions


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(idle_s=60, longest_s=200, clock=clock)


HTTP = httpx.AsyncClient()


def somebody(name: str = "ann") -> Session:
    return Session(client=None, who=name, http=HTTP)


def test_a_session_is_found_by_its_cookie_alone(sessions: Sessions) -> None:
    session = somebody()
    cookie = sessions.begin(session)
    assert sessions.find(cookie) is session
    assert len(cookie) >= 40
    for wrong in (None, "", cookie[:-1], cookie + "x"):
        assert sessions.find(wrong) is None


def test_it_ends_when_nobody_does_anything(sessions: Sessions, clock: Clock) -> None:
    """
    Being looked for, as a page does by itself, keeps no session alive.
    """
    session = somebody()
    cookie = sessions.begin(session)
    clock.now += 59
    assert sessions.find(cookie) is session
    sessions.touch(session)
    clock.now += 59
    assert sessions.find(cookie) is session
    clock.now += 2
    assert sessions.find(cookie) is None
    sessions.touch(session)
    assert sessions.find(cookie) is None, "it stays ended"


def test_it_ends_after_the_longest_time_whatever_is_done(sessions: Sessions, clock: Clock) -> None:
    session = somebody()
    cookie = sessions.begin(session)
    for _ in range(4):
        clock.now += 50
        sessions.touch(session)
    assert sessions.find(cookie) is session
    clock.now += 1
    assert sessions.find(cookie) is None


def test_who_signs_out_is_out(sessions: Sessions) -> None:
    session = somebody()
    cookie = sessions.begin(session)
    assert sessions.end(cookie) is session
    assert sessions.find(cookie) is None
    assert sessions.end(cookie) is None
    assert session.is_over


def test_there_is_an_end_to_how_many_are_kept(sessions: Sessions, clock: Clock) -> None:
    """
    The one that was used longest ago goes.
    """
    first = somebody("first")
    cookie = sessions.begin(first)
    others = []
    for at in range(1000):
        clock.now += 0.01
        others.append(sessions.begin(somebody(str(at))))
    assert sessions.find(cookie) is None and first.is_over
    assert sessions.find(others[0]) is not None


def test_what_somebody_does_too_late_brings_no_session_back(sessions: Sessions, clock: Clock) -> None:
    """
    A page that was left open still has its buttons.
    """
    session = somebody()
    cookie = sessions.begin(session)
    clock.now += 61
    sessions.touch(session)
    assert sessions.find(cookie) is None
