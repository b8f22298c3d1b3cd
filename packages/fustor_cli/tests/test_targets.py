"""
What `fustor up` is given: directories and addresses of databases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fustor_cli.local import targets
from fustor_cli.local.layout import Layout
from fustor_cli.local.provision import _provide_password, _source
from fustor_cli.local.targets import Target, target_of
from fustor_core.errors import ConfigError, DriverNotUsable


@pytest.fixture(autouse=True)
def _no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in targets.PASSWORD_VARIABLE.values():
        monkeypatch.delenv(name, raising=False)


def test_a_directory_is_a_tree(tmp_path: Path) -> None:
    target = target_of(str(tmp_path))
    assert (target.key, target.driver, target.uri) == (str(tmp_path), "fs", str(tmp_path))
    assert not target.is_database


def test_the_password_of_an_address_goes_nowhere_it_can_be_seen() -> None:
    target = target_of("mysql://rea%40der:s%2Fecret@db1:3307/shop?charset=utf8mb4")
    assert target.key == "mysql://rea%40der@db1:3307/shop?charset=utf8mb4"
    assert target.uri == "mysql://db1:3307/shop?charset=utf8mb4"
    assert (target.user, target.password, target.driver) == ("rea@der", "s/ecret", "mysql")
    assert "ecret" not in repr(target)


@pytest.mark.parametrize(
    ("given", "driver", "uri"),
    [
        ("mariadb://u@h/d", "mysql", "mariadb://h/d"),
        ("postgresql://u@h/d", "postgres", "postgresql://h/d"),
        ("postgres://u@[::1]:5433/d", "postgres", "postgres://[::1]:5433/d"),
        ("MySQL://u@h/d", "mysql", "mysql://h/d"),
    ],
)
def test_addresses_of_every_kind(given: str, driver: str, uri: str) -> None:
    target = target_of(given)
    assert (target.driver, target.uri, target.password) == (driver, uri, None)


def test_the_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "from outside")
    assert target_of("postgresql://u@h/d").password == "from outside"
    assert target_of("postgresql://u:own@h/d").password == "own"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("oracle://u@h/d", "nothing is known of addresses that begin with 'oracle://'"),
        ("mysql://h/d", "names no user"),
        ("mysql://u@h", "names no database"),
        ("mysql://u@/d", "names no host"),
        ("mysql://u@h:port/d", "can't be read"),
    ],
)
def test_an_address_that_lacks_something_is_told_in_one_line(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        target_of(given)
    assert "\n" not in str(caught.value)
    assert "://" in caught.value.hint


def test_ids_of_syncs_can_be_read() -> None:
    shop = target_of("mysql://u@h/shop")
    assert shop.sync_id([]) == "mysql-shop"
    assert shop.sync_id(["mysql-shop"]) == "mysql-shop-2"


class _Driver:
    """
    A driver whose checks answer as told.
    """

    answers: tuple[tuple[bool, str], ...] = ()

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def _answer(self, number: int, uri: str, credential: Any) -> tuple[bool, str]:
        self.asked.append((uri, credential.user, credential.passwd and credential.passwd.get_secret_value()))
        return self.answers[number]

    async def test_connection(self, *, uri: str, credential: Any) -> tuple[bool, str]:
        return await self._answer(0, uri, credential)

    async def check_privileges(self, *, uri: str, credential: Any) -> tuple[bool, str]:
        return await self._answer(1, uri, credential)

    async def check_runtime_params(self, *, uri: str, credential: Any) -> tuple[bool, str]:
        return await self._answer(2, uri, credential)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (((False, "no such host"),), "can't be reached: no such host"),
        (((True, ""), (False, "run GRANT ...")), "lacks a right: run GRANT"),
        (((True, ""), (True, ""), (False, "SET GLOBAL ...")), "not set up for it: SET GLOBAL"),
    ],
)
def test_what_a_database_lacks_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[tuple[bool, str], ...], said: str
) -> None:
    driver = _Driver()
    driver.answers = answers
    monkeypatch.setattr("fustor_core.plugins.source_drivers", lambda: {"mysql": driver})
    with pytest.raises(ConfigError, match=said):
        targets.check(target_of("mysql://u:p@h/d"))
    assert driver.asked == [("mysql://h/d", "u", "p")] * len(answers)


def test_a_driver_that_is_not_installed_is_named() -> None:
    with pytest.raises(DriverNotUsable, match="no driver 'none'"):
        targets.check(Target("x://u@h/d", "none", "x://h/d", "u"))


def test_passwords_are_kept_in_a_file_of_their_own(layout: Layout) -> None:
    layout.prepare()
    target = target_of("mysql://u:first@h/d")
    assert not _provide_password(layout, "mysql-d", target), "nobody has read an older one"
    file = layout.password_file("mysql-d")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("first", 0o600)
    assert _source(layout, "mysql-d", target)["credential"] == {"user": "u", "passwd": f"file:{file}"}
    assert not _provide_password(layout, "mysql-d", target)
    assert _provide_password(layout, "mysql-d", target_of("mysql://u:second@h/d"))
    assert not _provide_password(layout, "mysql-d", target_of("mysql://u@h/d")), "none was given: the old one stays"
    assert file.read_text() == "second"
