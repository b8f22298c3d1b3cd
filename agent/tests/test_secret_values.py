"""
References are resolved late, and secrets are shown nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fustor_agent.secret_values import MASK, left_masked, mask, resolve, unmask
from fustor_core.errors import ConfigError


def test_references_are_resolved_where_they_may_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pw").write_text("from file\n")
    monkeypatch.setenv("HOST_NAME", "db1")
    monkeypatch.setenv("PW", "from env")
    entry = {
        "driver": "${HOST_NAME}",
        "uri": "mysql://${HOST_NAME}:3306/",
        "credential": {"user": "u", "passwd": f"file:{tmp_path}/pw"},
        "driver_params": {"deep": [{"x": "a${PW}b"}], "plain": "$${PW}", "n": 5, "path": "file:/kept"},
    }
    assert resolve(entry) == {
        "driver": "${HOST_NAME}",
        "uri": "mysql://db1:3306/",
        "credential": {"user": "u", "passwd": "from file"},
        "driver_params": {"deep": [{"x": "afrom envb"}], "plain": "${PW}", "n": 5, "path": "file:/kept"},
    }
    assert entry["credential"] == {"user": "u", "passwd": f"file:{tmp_path}/pw"}, "the entry itself is not changed"


@pytest.mark.parametrize("text", ["${NOT_SET_ANYWHERE}", "file:/nowhere/at/all"])
def test_what_cannot_be_resolved_is_named(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"credential": {"key": text}})
    assert "credential.key" in caught.value.message and caught.value.hint


def test_secrets_are_masked_and_references_are_not() -> None:
    shown = mask(
        {
            "uri": "mysql://root:hunter2@db/",
            "credential": {"user": "u", "passwd": "hunter2", "key": "${KEY}"},
            "driver_params": {"password": "hunter2", "api_key": 1234, "token": "file:/t", "key_column": "id", "n": 3},
        }
    )
    assert "hunter2" not in str(shown) and "1234" not in str(shown)
    assert shown["uri"] == f"mysql://root:{MASK}@db/"
    assert shown["credential"] == {"user": "u", "passwd": MASK, "key": "${KEY}"}
    assert shown["driver_params"] == {"password": MASK, "api_key": MASK, "token": "file:/t", "key_column": "id", "n": 3}


def test_a_mask_that_comes_back_leaves_the_secret_as_it_was() -> None:
    known = {"uri": "mysql://root:hunter2@db/", "credential": {"user": "u", "passwd": "hunter2"}, "l": [{"token": "t"}]}
    assert unmask(mask(known), known) == known
    assert unmask({"credential": {"passwd": "new"}}, known) == {"credential": {"passwd": "new"}}


def test_what_has_a_mask_in_it_and_is_none_is_found() -> None:
    """
    Something typed beside the mask, an address with another host, a mask where nothing was saved; not a secret that has stars itself.
    """
    known = {
        "uri": "mysql://root:hunter2@db/",
        "credential": {"user": "u", "passwd": "hunter2"},
        "driver_params": {"token": "a***b", "pattern": "***"},
    }

    def left(**changed: Any) -> list[str]:
        return [".".join(place) for place in left_masked(unmask({**mask(known), **changed}, known), known)]

    assert left() == []
    assert left(credential={"user": "***", "passwd": "new"}) == []
    assert left(credential={"user": "u", "passwd": "***x"}) == ["credential.passwd"]
    assert left(credential={"key": "***"}) == ["credential.key"]
    assert left(uri="mysql://root:***@elsewhere/") == ["uri"]
    assert left(driver_params={"token": "***", "pattern": "***/*"}) == []
    assert left(driver_params={"tokens": ["***"]}) == ["driver_params.tokens.0"]
