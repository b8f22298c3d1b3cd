"""
Services as real processes: start, status, stop, and what happens when things are not as they should be.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from fustor_common.daemon import stop_running


class Demo:
    """
    Runs the demo service's command with a config root of its own.
    """

    def __init__(self, code: Path, root: Path) -> None:
        self.code, self.root = code, root
        self.env = {**os.environ, "PYTHONPATH": str(code), "FUSTOR_CONFIG_DIR": str(root)}

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(self.code / "demo_cli.py"), *args]
        return subprocess.run(command, env=self.env | env, capture_output=True, text=True, timeout=90)

    def start(self, *args: str, **env: str) -> dict[str, Any]:
        done = self.run("start", "-D", "--json", *args, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    @property
    def log(self) -> str:
        path = self.root / "fustor_demo.log"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def demo(service: Path, tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(service, tmp_path / "root")
    yield demo
    stop_running(demo.root / "fustor_demo.pid", force=True)


def connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)


def until(what: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def test_start_status_stop(demo: Demo) -> None:
    """A service started in the background answers at once, is seen by `status`, and is gone after `stop`."""
    assert demo.run("status").returncode == 3
    info = demo.start()
    assert info["port"] > 0 and psutil.pid_exists(info["pid"])
    assert os.getsid(info["pid"]) == info["pid"]
    status = json.loads(demo.run("status", "--json").stdout)
    assert status["pid"] == info["pid"] and status["health"] == "ready" and status["url"] == info["url"]
    assert str(info["pid"]) in demo.run("status").stdout
    stopped = demo.run("stop", "--json")
    assert json.loads(stopped.stdout) == {"running": False, "stopped": True, "pid": info["pid"]}
    assert not (demo.root / "fustor_demo.pid").exists()
    assert "closed in good order" in demo.log
    assert demo.run("stop").returncode == 0


def test_a_second_start_says_that_it_runs_already(demo: Demo) -> None:
    info = demo.start()
    for args in (["start", "-D"], ["start"]):
        again = demo.run(*args)
        assert again.returncode == 1
        assert again.stderr.count("\n") == 1 and "already running" in again.stderr and str(info["pid"]) in again.stderr


def test_a_taken_port_is_said_in_one_line(demo: Demo, tmp_path: Path) -> None:
    info = demo.start()
    other = Demo(demo.code, tmp_path / "other")
    for args in (["start", "-D"], ["start"]):
        failed = other.run(*args, "--port", str(info["port"]))
        assert failed.returncode == 1
        line = failed.stderr
        assert line.count("\n") == 1 and line.count("fustor-demo:") == 1
        assert f"port {info['port']}" in line and f"pid {info['pid']}" in line and "FUSTOR_DEMO_PORT" in line
        assert not (other.root / "fustor_demo.pid").exists()


def test_a_stale_pid_file_is_taken_over(demo: Demo) -> None:
    """kill -9 leaves a pid file; even when its pid belongs to another process now, it does not count."""
    info = demo.start()
    os.kill(info["pid"], signal.SIGKILL)
    until(lambda: not psutil.pid_exists(info["pid"]))
    path = demo.root / "fustor_demo.pid"
    stale = json.loads(path.read_text())
    assert demo.run("status").returncode == 3
    path.write_text(json.dumps(stale | {"pid": os.getpid()}))
    assert demo.run("status").returncode == 3
    assert demo.start()["pid"] != info["pid"]


def test_stop_does_not_signal_a_process_that_took_the_pid(demo: Demo) -> None:
    demo.root.mkdir()
    path = demo.root / "fustor_demo.pid"
    path.write_text(json.dumps({"pid": os.getpid(), "started_at": 1.0, "host": "h", "port": 1, "url": "http://h:1"}))
    assert "was not running" in demo.run("stop").stdout
    assert not path.exists()


def test_sigterm_lets_an_open_request_finish(demo: Demo) -> None:
    info = demo.start()
    connection = connect(info["url"])
    connection.request("GET", "/slow")
    until(lambda: "slow begins" in demo.log)
    os.kill(info["pid"], signal.SIGTERM)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b'"done"')
    connection.close()
    until(lambda: not (demo.root / "fustor_demo.pid").exists())
    assert "closed in good order" in demo.log


def test_sigterm_ends_an_endless_stream_at_once(demo: Demo) -> None:
    """The stream ends cleanly, so the stop does not have to cut anything short."""
    info = demo.start()
    connection = connect(info["url"])
    connection.request("GET", "/endless")
    answer = connection.getresponse()
    assert answer.readline() == b"data: x\n"
    assert demo.run("stop").returncode == 0
    assert answer.read() == b"\n"
    connection.close()
    assert "Cancel" not in demo.log and "closed in good order" in demo.log


def test_a_close_that_hangs_is_cut_short(demo: Demo) -> None:
    demo.start(FUSTOR_DEMO_STUBBORN="1", FUSTOR_DEMO_CLOSE_TIMEOUT_S="0.5")
    assert demo.run("stop").returncode == 0
    assert "was cut short" in demo.log


def test_a_service_that_can_not_start_says_why(demo: Demo) -> None:
    failed = demo.run("start", "-D", FUSTOR_DEMO_BROKEN="1")
    assert failed.returncode == 1
    assert "the demo is broken (mend it)" in failed.stderr and "Traceback" not in failed.stderr
    assert not (demo.root / "fustor_demo.pid").exists()
    wrong = demo.run("start", "-D", FUSTOR_DEMO_PORT="many")
    assert wrong.returncode == 1 and "FUSTOR_DEMO_PORT" in wrong.stderr


def test_no_secret_reaches_the_log(demo: Demo) -> None:
    info = demo.start()
    connection = connect(info["url"])
    connection.request("GET", "/secrets", headers={"X-Request-ID": "abc-1"})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert answer.status == 500 and body["code"] == "internal" and body["context"] == {"request_id": "abc-1"}
    lines = [json.loads(line) for line in demo.log.splitlines()]
    assert "hunter2" not in demo.log and "***" in demo.log
    failed = [line for line in lines if "exception" in line]
    assert len(failed) == 1 and failed[0]["request_id"] == "abc-1" and "RuntimeError" in failed[0]["exception"]


def test_plain_uvicorn_logs_and_stops_the_same_way(demo: Demo) -> None:
    """`uvicorn demo_service:app`, without our command: the log file is written and an endless stream does not hold up the stop."""
    command = [sys.executable, "-m", "uvicorn", "demo_service:app", "--port", "0"]
    process = subprocess.Popen(command, env=demo.env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        url = ""
        for line in process.stderr:
            if "running on http" in line:
                url = line.split("running on ")[1].split()[0]
                break
        connection = connect(url)
        connection.request("GET", "/endless")
        answer = connection.getresponse()
        assert answer.readline() == b"data: x\n"
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        process.wait(30)
        connection.close()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    events = [json.loads(line)["event"] for line in demo.log.splitlines()]
    assert "closed in good order" in events and "Demo is ready" in events
