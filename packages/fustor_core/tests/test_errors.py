"""
The error tree: codes are stable and unique, messages name the remedy.
"""

import inspect

from fustor_core import errors
from fustor_core.errors import ConnectionLost, FustorError

ALL = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, FustorError)]


def test_every_code_is_unique_and_dotted() -> None:
    codes = [c.code for c in ALL]

    assert len(set(codes)) == len(codes)
    assert all(code.count(".") == 1 for code in codes)


def test_every_class_says_its_own_code() -> None:
    assert all("code" in vars(c) for c in ALL)


def test_text_holds_message_and_hint() -> None:
    error = ConnectionLost("can't reach 'db:1'", hint="start it", wait_s=3, context={"host": "db"})

    assert str(error) == "can't reach 'db:1' (start it)"
    assert error.to_dict() == {
        "code": "driver.connection_lost",
        "message": "can't reach 'db:1'",
        "hint": "start it",
        "context": {"host": "db"},
    }
    assert error.wait_s == 3
