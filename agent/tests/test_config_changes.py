"""
What the API can do with the configuration beside setting an entry, and that no secret of it ever leaves the agent.
"""

# ruff: noqa: ASYNC240 - tests may read small files on the event loop

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

from fustor_agent.app import create_app
from fustor_agent.config_diff import with_keys
from fustor_agent.config_file import parse
from fustor_agent.config_text import with_entry
from fustor_core.errors import ConnectionLost

COMMENTED = """\
# our shop
sources:
  src:            # the big one
    driver: quiet
    uri: quiet://here   # never moves
    # who reads
    credential: {key: "${SRC_KEY}"}
    driver_params:
      include:
        - a  # first
        # second
        - b
    disabled: false

# where it goes
pushers:
  out:
    driver: keeping
    endpoint: http://h:1
    credential:
      key: very-secret
    disabled: false
syncs:
  one: {source: src, pusher: out}   # ours
  two: {source: src, pusher: out}
"""


@pytest.fixture
async def app(settings: Any, config_path: Path, drivers: Any, doubles: Any) -> AsyncIterator[Any]:
    config_path.write_text(COMMENTED)
    app = create_app(settings, **drivers, **doubles)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def http(app: Any, doubled: Any, until: Any, authorized: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    await until(lambda: len(doubled.runtime.alive) == 2)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8100/api/configs/", follow_redirects=True, headers=authorized
    ) as client:
        yield client


def comments(text: str) -> list[str]:
    return [line[line.index("#") :] for line in text.splitlines() if "#" in line]


async def test_a_change_keeps_comments_and_order_inside_the_entry_too(
    http: httpx.AsyncClient, config_path: Path
) -> None:
    source = (await http.get("sources/src")).json()
    source["uri"] = "quiet://there"
    source["driver_params"]["include"] = ["a", "new", "b"]
    source["max_retries"] = 0
    assert (await http.put("sources/src", json=source)).status_code == 200

    text = config_path.read_text()

    assert comments(text) == comments(COMMENTED)
    assert "    uri: quiet://there   # never moves\n    # who reads\n" in text
    assert text.index("driver: quiet") < text.index("uri:") < text.index("max_retries: 0") < text.index("pushers:")
    changed = ["uri:", "- new", "max_retries"]
    assert [line for line in text.splitlines() if not any(one in line for one in changed)] == [
        line for line in COMMENTED.splitlines() if "uri:" not in line
    ]


@pytest.mark.parametrize(
    "text",
    [
        "base: &base {driver: quiet}\nsources:\n  a:\n    <<: *base\n    uri: x # here\n  b: {driver: quiet, uri: y}\n",
        "{sources: {a: {driver: quiet, uri: x}, b: {driver: quiet, uri: y}}} # all in one\n",
        "sources:\n  a: &a\n    driver: quiet\n    uri: x\n  b: *a\n",
        "sources:\n  a:\n    driver: quiet\n    uri: >-\n      long\n      text\n  # last\n  b: {driver: quiet, uri: y}",
        "sources:\n- not\n- a mapping\n",
        "sources:\r\n  a:\r\n    driver: quiet\r\n    uri: x\r\n",
    ],
)
@pytest.mark.parametrize("entry", [{"driver": "quiet", "uri": "z: '\"#", "driver_params": {"n": 1, "t": "1"}}, None])
def test_however_a_file_is_written_it_says_afterwards_what_was_wanted(text: str, entry: Any) -> None:
    expected = {section: dict(entries) for section, entries in parse(text).entries.items()}
    if entry is None:
        expected["sources"].pop("a", None)
    else:
        expected["sources"]["a"] = entry

    changed = with_entry(text, "sources", "a", entry)

    assert parse(changed).entries == expected
    if "# here" not in text or entry is None:
        assert set(comments(changed)) >= {one for one in comments(text) if "last" in one}


async def test_an_entry_is_created_once_cloned_and_superseded(http: httpx.AsyncClient, config_path: Path) -> None:
    new = {"id": "next", "entry": {"driver": "keeping", "endpoint": "http://h:2"}}
    assert (await http.post("pushers", json=new)).status_code == 201
    again = await http.post("pushers", json=new)
    assert again.status_code == 409 and "already" in again.json()["message"]
    wrong = await http.post("pushers", json={"id": "other", "entry": {"driver": "keepin", "endpoint": "x"}})
    assert wrong.status_code == 400 and "did you mean `keeping`?" in wrong.json()["hint"]
    assert wrong.json()["context"]["problems"][0]["where"] == "pushers.other.driver"

    cloned = await http.post("pushers/out/clone", json={"id": "copy", "changes": {"batch_size": 7}})
    assert cloned.status_code == 201 and cloned.json()["dependants"] == []
    moved = await http.post(
        "pushers/out/clone", json={"id": "out-2", "changes": {"endpoint": "http://h:9"}, "supersede": True}
    )
    assert moved.json()["dependants"] == ["one", "two"]
    said = yaml.safe_load(config_path.read_text())
    assert {name: entry["pusher"] for name, entry in said["syncs"].items()} == {"one": "out-2", "two": "out-2"}
    assert said["pushers"]["out"]["disabled"] is True
    assert said["pushers"]["out-2"]["credential"] == said["pushers"]["copy"]["credential"] == {"key": "very-secret"}
    assert said["pushers"]["copy"]["batch_size"] == 7
    assert (await http.post("apply")).json()["applied"]["restarted"] == ["one", "two"]
    assert comments(config_path.read_text()) == comments(COMMENTED)


async def test_entries_are_switched_and_deleted_with_their_dependants_shown(
    http: httpx.AsyncClient, config_path: Path
) -> None:
    off = await http.post("sources/src/disable")
    assert off.json()["dependants"] == ["one", "two"] and off.json()["entry"]["disabled"] is True
    assert (await http.post("apply")).json()["applied"]["stopped"] == ["one", "two"]
    assert (await http.post("sources/src/enable")).json()["entry"]["disabled"] is False
    assert (await http.post("apply")).json()["applied"]["started"] == ["one", "two"]
    assert (await http.get("sources/src")).json()["dependants"] == ["one", "two"]
    used = await http.delete("sources/src")
    assert used.status_code == 409 and used.json()["context"]["dependants"] == ["one", "two"]
    gone = await http.delete("sources/src", params={"with_dependants": True})
    assert gone.json() == {"entry": None, "dependants": ["one", "two"]}
    assert yaml.safe_load(config_path.read_text()).get("syncs") is None
    assert (await http.get("unused")).json() == {"sources": [], "pushers": ["out"]}
    assert (await http.delete("unused")).json() == {"sources": [], "pushers": ["out"]}
    assert (await http.get("unused")).json() == {"sources": [], "pushers": []}
    rows = (await http.get("revisions")).json()["rows"]
    assert [row["reason"] for row in rows[:2]] == [
        "deleted what no sync uses: pushers.out",
        "deleted sources.src and the syncs one, two",
    ]


async def test_what_is_unused_is_deleted_of_one_section_alone(http: httpx.AsyncClient) -> None:
    await http.delete("sources/src", params={"with_dependants": True})
    for section, entry in (
        ("sources", {"driver": "quiet", "uri": "x"}),
        ("pushers", {"driver": "keeping", "endpoint": "x"}),
    ):
        await http.post(section, json={"id": "spare", "entry": entry})
    of_sources = {"section": "sources"}
    assert (await http.get("unused")).json() == {"sources": ["spare"], "pushers": ["out", "spare"]}
    assert (await http.get("unused", params=of_sources)).json() == {"sources": ["spare"], "pushers": []}
    assert (await http.delete("unused", params=of_sources)).json() == {"sources": ["spare"], "pushers": []}
    assert (await http.get("unused")).json() == {"sources": [], "pushers": ["out", "spare"]}
    assert (await http.get("unused", params={"section": "syncs"})).status_code == 400


async def test_revisions_name_the_keys_that_were_changed(http: httpx.AsyncClient, config_path: Path) -> None:
    """
    The first of them when there are many, and also when the file was edited by hand.
    """

    async def newest() -> str:
        return str((await http.get("revisions")).json()["rows"][0]["reason"])

    pusher = (await http.get("pushers/out")).json()
    await http.put("pushers/out", json={**pusher, "batch_size": 9, "credential": {"key": "another-secret"}})
    assert await newest() == "changed pushers.out: credential.key, batch_size"
    config_path.write_text(config_path.read_text().replace("batch_size: 9", "batch_size: 10"))
    assert await newest() == "edited by hand: pushers.out.batch_size"
    config_path.write_text(config_path.read_text() + "# a word\n")
    assert await newest() == "edited by hand"
    assert with_keys("changed it", (f"p{n}" for n in range(9))) == "changed it: p0, p1, p2, p3, …"


async def test_a_secret_with_a_mask_in_it_is_not_saved(http: httpx.AsyncClient, config_path: Path) -> None:
    """
    Whoever has typed beside what stands for a saved secret is told so at its key; what comes back as it was shown is kept.
    """
    await http.put("sources/src", json={"driver": "quiet", "uri": "quiet://u:hidden@db/", "disabled": False})
    pusher = (await http.get("pushers/out")).json()
    before = config_path.read_text()
    for path, entry, where in (
        ("pushers/out", {**pusher, "credential": {"key": "***x"}}, "pushers.out.credential.key"),
        ("sources/src", {"driver": "quiet", "uri": "quiet://u:***@elsewhere/"}, "sources.src.uri"),
        ("pushers/new", {**pusher, "credential": {"key": "***"}}, "pushers.new.credential.key"),
    ):
        refused = await http.put(path, json=entry)
        assert refused.status_code == 400 and "stands for a saved secret" in refused.json()["message"]
        assert [one["where"] for one in refused.json()["context"]["problems"]] == [where]
    assert config_path.read_text() == before
    kept = await http.put("sources/src", json={"driver": "quiet", "uri": "quiet://u:***@db/", "disabled": False})
    assert kept.status_code == 200 and "quiet://u:hidden@db/" in config_path.read_text()


async def test_a_diff_says_what_changed_and_shows_no_secret(http: httpx.AsyncClient, config_path: Path) -> None:
    pusher = (await http.get("pushers/out")).json()
    await http.put("pushers/out", json={**pusher, "credential": {"key": "third-secret"}, "batch_size": 9})
    newest = (await http.get("revisions")).json()["rows"][0]["id"]
    found = (await http.get(f"revisions/{newest}/diff")).json()
    assert {(one["key"], one["change"]) for one in found["changes"]} == {
        ("pushers.out.credential.key", "changed"),
        ("pushers.out.batch_size", "added"),
    }
    assert "+    batch_size: 9" in found["diff"] and "another one" in found["diff"]
    assert "secret" not in json.dumps(found).replace("SECRET", "")
    config_path.write_text(config_path.read_text() + "# hand\n")
    await http.post("apply")
    only_comment = (await http.get(f"revisions/{newest + 1}/diff")).json()
    assert only_comment["changes"] == [] and only_comment["diff"] == ""
    against = (await http.get(f"revisions/{newest + 1}/diff", params={"against": 1})).json()
    assert len(against["changes"]) == 2 and against["before"]["id"] == 1
    assert (await http.get("revisions/77/diff")).status_code == 404


async def test_of_two_people_who_edit_at_once_the_second_is_told(http: httpx.AsyncClient, config_path: Path) -> None:
    """
    A change with `If-Match` is made to the revision that its author has read, by every route that writes; without it as ever.
    """
    sync = {"source": "src", "pusher": "out"}
    read = [await http.get(path) for path in ("", "syncs", "syncs/one", "unused")]
    assert {answer.headers["ETag"] for answer in read} == {'"1"'}
    first = await http.put("syncs/one", json={**sync, "disabled": True}, headers={"If-Match": '"1"'})
    assert (first.status_code, first.headers["ETag"]) == (200, '"2"')
    text = config_path.read_text()
    late = {"If-Match": '"1"'}
    tries = [
        ("POST", "syncs", {"id": "three", "entry": sync}),
        ("PUT", "syncs/one", sync),
        ("DELETE", "syncs/one", None),
        ("POST", "pushers/out/clone", {"id": "out-2"}),
        ("POST", "sources/src/disable", None),
        ("DELETE", "unused", None),
        ("POST", "revisions/1/rollback", None),
    ]
    for method, path, body in tries:
        refused = await http.request(method, path, json=body, headers=late)
        assert refused.status_code == 412 and config_path.read_text() == text, (method, path)
        said = refused.json()
        assert said["code"] == "request.precondition_failed" and said["context"] == {"revision": 2, "expected": [1]}
        assert said["message"].endswith("since revision 1: it is at revision 2 now (changed syncs.one: disabled)")
        assert "revisions/2/diff?against=1" in said["hint"]
    assert (await http.get("revisions/2/diff", params={"against": 1})).json()["changes"][0][
        "key"
    ] == "syncs.one.disabled"

    for number, (method, path, body) in enumerate(tries, start=2):
        now = (await http.get("")).headers["ETag"]
        done = await http.request(method, path, json=body, headers={"If-Match": f'"1", W/{now}'})
        assert done.is_success, (method, path, done.text)
        if path != "unused":  # there may be nothing to delete
            assert done.headers["ETag"] == f'"{int(now[1:-1]) + 1}"', number
    assert (await http.put("syncs/one", json=sync)).status_code == 200, "without it"
    odd = await http.put("syncs/one", json=sync, headers={"If-Match": "yesterday"})
    assert odd.status_code == 400 and "If-Match" in odd.json()["message"]


async def test_a_change_by_hand_counts_as_somebody_elses(http: httpx.AsyncClient, config_path: Path) -> None:
    read = (await http.get("")).headers["ETag"]
    config_path.write_text(COMMENTED + "# by hand\n")
    refused = await http.delete("syncs/one", headers={"If-Match": read})
    assert refused.status_code == 412 and "(edited by hand)" in refused.json()["message"]
    now = (await http.get("")).headers["ETag"]
    config_path.write_text("sources: [")
    unreadable = await http.delete("syncs/one", headers={"If-Match": now})
    assert unreadable.status_code == 409, "nothing can be changed in it"
    assert (await http.post("revisions/1/rollback", headers={"If-Match": now})).status_code == 200
    assert config_path.read_text() == COMMENTED


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("!!binary aGk=", "of a kind"),
        ("!!set {a, b}", "of a kind"),
        ("{? [a, b] : c}", "no text"),
        (".inf", "no number"),
        ('"\\ud800"', "half a character"),
        ('{"\\ud800": 1}', "no text"),
        ("[" * 39 + "]" * 39, "deep"),
    ],
)
async def test_what_no_answer_can_carry_is_a_problem_of_the_file_and_shown_all_the_same(
    http: httpx.AsyncClient, config_path: Path, value: str, says: str
) -> None:
    config_path.write_text(COMMENTED.replace("      include:", f"      odd: {value}\n      include:"))
    refused = await http.post("apply")
    assert refused.status_code == 409 and says in refused.json()["message"], refused.json()
    for path in ("", "sources", "sources/src", "revisions", "revisions/2", "revisions/2/diff"):
        answer = await http.get(path)
        assert answer.status_code == 200 or "deep" in says, (path, answer.text)


async def test_a_body_that_can_not_be_kept_is_refused_before_anything_is_done(
    http: httpx.AsyncClient, config_path: Path
) -> None:
    deep = "[" * 200 + "]" * 200
    for value in ('"\\ud800"', "1e999", '{"\\udfff": 1}', deep):
        for method, path, body in (
            ("PUT", "sources/src", f'{{"driver": "quiet", "uri": "u", "driver_params": {{"a": {value}}}}}'),
            ("POST", "sources", f'{{"id": "new", "entry": {{"driver": "quiet", "uri": {value}}}}}'),
            ("POST", "sources/src/clone", f'{{"id": "new", "changes": {{"uri": {value}}}}}'),
            ("POST", "../syncs/_preview", f'{{"samples": [{{"table": "t", "rows": [{{"a": {value}}}]}}]}}'),
            ("POST", "../drivers/sources/quiet/test", f'{{"driver_params": {{"a": {value}}}}}'),
            ("POST", "../instances/one/snapshot", f'{{"where": {value}}}'),
        ):
            answer = await http.request(method, path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 400 and answer.json()["code"] == "request.invalid", (path, value, answer.text)
    assert config_path.read_text() == COMMENTED


async def test_with_a_wrong_file_all_goes_on_and_nothing_is_half_applied(
    http: httpx.AsyncClient, config_path: Path, doubled: Any
) -> None:
    running = dict(doubled.runtime.alive)
    for wrong in (
        COMMENTED.replace("driver: quiet", "driver: quit").replace("two:", "three:"),
        COMMENTED.replace("syncs:", "synks:"),
        COMMENTED.replace("disabled: false", "disabled: maybe"),
        COMMENTED.replace("  two:", "  t wo:"),
        "sources: [",
    ):
        config_path.write_text(wrong)
        answer = await http.post("apply")
        assert answer.status_code == 409 and answer.json()["context"]["problems"], wrong
        assert doubled.runtime.alive == running and doubled.runtime.started == ["one", "two"]
        assert (await http.get("")).json()["in_force"] is False
    config_path.unlink()
    assert "gone" in (await http.post("apply")).json()["message"]
    assert doubled.runtime.alive == running
    config_path.write_text(COMMENTED.replace("two:", "three:"))
    applied = (await http.post("apply")).json()
    assert applied["applied"]["stopped"] == ["two"] and applied["applied"]["started"] == ["three"]
    assert applied["in_force"] is True


async def test_an_agent_that_starts_on_a_wrong_file_goes_on_with_the_last_good_one(
    settings: Any, config_path: Path, drivers: Any, doubles: Any, doubled: Any, until: Any
) -> None:
    config_path.write_text(COMMENTED)
    for text, names in ((COMMENTED, {"one", "two"}), (COMMENTED.replace("syncs:", "synks:"), {"one", "two"})):
        config_path.write_text(text)
        app = create_app(settings, **drivers, **doubles)
        async with app.router.lifespan_context(app):
            await until(lambda names=names: set(doubled.runtime.alive) == names)
    assert config_path.read_text() == COMMENTED.replace("syncs:", "synks:"), "the file is a person's"


async def test_a_sync_that_could_not_be_built_anew_keeps_running(
    http: httpx.AsyncClient, config_path: Path, doubled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What only shows when a sync is built (a variable that is not set, a driver that refuses) does not end it either.
    """
    running = dict(doubled.runtime.alive)
    for good, bad in (
        ("very-secret", "${NOT_SET_ANYWHERE}"),
        ("disabled: false\nsyncs", "driver_params: {explode: true}\nsyncs"),
    ):
        text = COMMENTED.replace(good, bad)
        if "explode" in bad:
            text = text.replace("    driver_params: {explode", "    disabled: false\n    driver_params: {explode")
        config_path.write_text(text)
        applied = (await http.post("apply")).json()["applied"]
        assert applied["kept"] == ["one", "two"] and applied["restarted"] == [], applied
        assert doubled.runtime.alive == running
        status = (await http.get("../instances/one")).json()
        assert "RUNNING_CONF_OUTDATE" in status["states"] and "goes on" in status["reason"] and status["hint"]
    config_path.write_text(COMMENTED.replace("very-secret", "${NOT_SET_ANYWHERE}"))
    monkeypatch.setenv("NOT_SET_ANYWHERE", "now it is")
    assert (await http.post("apply")).json()["applied"]["restarted"] == ["one", "two"]


async def test_another_secret_behind_the_same_reference_restarts_its_syncs(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await http.post("apply")).json()["applied"]["restarted"] == []
    monkeypatch.setenv("SRC_KEY", "another-secret")
    assert (await http.post("apply")).json()["applied"]["restarted"] == ["one", "two"]
    assert (await http.post("apply")).json()["applied"]["restarted"] == []


async def test_a_runtime_that_dies_comes_back_as_it_was_not_as_the_file_is(
    http: httpx.AsyncClient, doubled: Any, until: Any
) -> None:
    sync = {"source": "src", "pusher": "out", "fields_mapping": [{"to": "a", "source": ["t.a"]}]}
    await http.put("syncs/one", json=sync)
    first = doubled.runtime.alive["one"]
    first.dead.set()
    await until(lambda: doubled.runtime.alive.get("one") not in (None, first))
    assert doubled.runtime.alive["one"].config.fields_mapping == []
    assert "RUNNING_CONF_OUTDATE" in (await http.get("../instances/one")).json()["states"]
    await http.post("apply")
    await until(lambda: "one" in doubled.runtime.alive and doubled.runtime.alive["one"].config.fields_mapping)


async def test_the_schema_takes_what_is_right_and_refuses_what_is_wrong(http: httpx.AsyncClient) -> None:
    schema = (await http.get("schema")).json()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(yaml.safe_load(COMMENTED)), list(validator.iter_errors(yaml.safe_load(COMMENTED)))
    for good, bad in (("driver: quiet", "driver: quit"), ("uri:", "url:"), ("disabled: false", "disabled: 5")):
        assert not validator.is_valid(yaml.safe_load(COMMENTED.replace(good, bad)))


async def test_no_secret_leaves_the_agent_in_any_answer_log_or_error(
    http: httpx.AsyncClient, app: Any, config_path: Path, doubled: Any
) -> None:
    """
    Every GET route, every refusal of a wrong file that has secrets in odd places, revisions, diffs, and the log.
    """
    secret = "hunter2-hunter2"
    seen: list[str] = []
    odd = [
        COMMENTED.replace("very-secret", secret),
        COMMENTED.replace("very-secret", f"*{secret}"),
        COMMENTED.replace("very-secret", f"!{secret}"),
        COMMENTED.replace("very-secret", f"'{secret}"),
        COMMENTED.replace("key: very-secret", f"key: {secret}\n      key: {secret}2"),
        COMMENTED.replace("key: very-secret", f"passwd: {secret}"),
        COMMENTED.replace("      key: very-secret", f"      - {secret}"),
        COMMENTED.replace("key: very-secret", f"key: ${{{secret}"),
        COMMENTED.replace("endpoint: http://h:1", f"endpoint: http://u:{secret}@h:1/?token={secret}"),
        COMMENTED.replace("uri: quiet://here", f"uri: quiet://here\n    passwd: {secret}\n    driver_params: {secret}"),
        COMMENTED.replace("      include:", f"      password: {secret}\n      include:"),
        COMMENTED.replace("    endpoint", f"    # the old one was {secret}\n    endpoint"),
        COMMENTED.replace("      key: very-secret", f"      key: [{secret}]"),
    ]
    for text in odd:
        config_path.write_text(text)
        seen += [(await http.post("apply")).text, (await http.get("")).text, (await http.get("../instances")).text]
        changed = await http.put(
            "pushers/out", json={"driver": "keeping", "endpoint": 5, "credential": {"kee": secret}}
        )
        seen.append(changed.text)
    for revision in (await http.get("revisions")).json()["rows"]:
        seen += [(await http.get(f"revisions/{revision['id']}{more}")).text for more in ("", "/diff")]
    config_path.write_text(odd[0])
    await http.post("apply")
    for path, methods in app.openapi()["paths"].items():
        if "get" in methods and "{" not in path and not path.endswith("/follow"):  # endless; the log is looked at below
            seen.append((await http.get(f"http://127.0.0.1:8100{path}")).text)
    for section, id_ in (("sources", "src"), ("pushers", "out"), ("syncs", "one")):
        seen.append((await http.get(f"{section}/{id_}")).text)
    log = app.state.settings.log_file.read_text()
    assert [text for text in [*seen, log] if secret in text or "very-secret" in text] == []


async def test_what_is_left_at_a_deleted_source_is_said_kept_and_done_later(
    settings: Any,
    config_path: Path,
    drivers: Any,
    doubles: Any,
    doubled: Any,
    until: Any,
    authorized: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Also when its syncs were stopped, when the server is away, and when it was deleted while the agent was stopped.
    """
    away = True
    cleaned: list[str] = []
    source_class: Any = drivers["sources"].get("quiet")

    async def clean_up(driver: Any) -> None:
        if away:
            raise ConnectionLost("the server is away", hint="DROP what is there")
        cleaned.append(driver.id)

    monkeypatch.setattr(source_class, "clean_up", clean_up)
    config_path.write_text(COMMENTED)
    app = create_app(settings, **drivers, **doubles)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/api/", headers=authorized) as client,
    ):
        for sync in ("one", "two"):
            await client.post(f"instances/{sync}/stop")
        await client.delete("configs/sources/src", params={"with_dependants": True})
        applied = (await client.post("configs/apply")).json()
        assert applied["applied"]["cleaned"] == [] and applied["applied"]["left"] == ["src"]
        (left,) = applied["cleanups"]
        assert (left["source"], left["reason"], left["hint"]) == ("src", "the server is away", "DROP what is there")
        assert (await client.post(f"configs/cleanups/{left['id']}/retry")).json()["done"] is False
    away = False
    app = create_app(settings, **drivers, **doubles)
    async with app.router.lifespan_context(app):
        assert cleaned == ["src"], "remembered over a restart"
        assert app.state.service.supervisor.cleanup.pending() == []
    config_path.write_text(COMMENTED)
    for text in (COMMENTED, COMMENTED.replace("  src: ", "  other: ").replace("source: src", "source: other")):
        config_path.write_text(text)
        app = create_app(settings, **drivers, **doubles)
        async with app.router.lifespan_context(app):
            pending = app.state.service.supervisor.cleanup.pending()
    assert [one["asks"] for one in pending] == [True], "another source may use what is there: a person is asked"
    assert cleaned == ["src"]
