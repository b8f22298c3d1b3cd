"""
Runs one service in this process: port first, then the pid file, then the app.

The port is bound before anything else starts, so a taken port leaves nothing half-started behind.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
from types import FrameType

import psutil
import uvicorn

from fustor_common import paths
from fustor_common.daemon import PidFile, RunningService
from fustor_common.logging import close_logging, setup_logging
from fustor_common.settings import ServiceSettings, local_url
from fustor_core.errors import ConfigError

log = logging.getLogger(__name__)

BACKLOG = 2048
KEEP_ALIVE_S = 75  # longer than the agents' heartbeat interval, so that their connections stay open


def bind(settings: ServiceSettings) -> socket.socket:
    """
    Bind the service's address and return the socket, not yet listening.

    Raises:
        ConfigError: The port is taken (says by whom, where that can be known), or the address can't be used.
    """
    env = settings.env_name("port")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as exc:
        raise ConfigError(
            f"the address {settings.host!r} is not known: {exc.strerror or exc}",
            hint=f"set {settings.env_name('host')} or --host to an address of this machine",
            context={"host": settings.host},
        ) from exc
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)  # now: a second process must fail here and not later
    except OSError as exc:
        sock.close()
        where = f"port {settings.port} on {settings.host}"
        holder = port_holder(settings.port)
        raise ConfigError(
            f"{where} is taken by {holder}"
            if exc.errno == errno.EADDRINUSE
            else f"{where} can't be used: {exc.strerror or exc}",
            hint=f"stop that process, or choose another port with --port or {env}"
            if exc.errno == errno.EADDRINUSE
            else f"choose another with --host and --port, or {settings.env_name('host')} and {env}",
            context={"host": settings.host, "port": settings.port},
        ) from exc
    return sock


def port_holder(port: int) -> str:
    """
    Name the process that listens on a port, as well as this user may know.
    """
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and port in connection.laddr:
                process = psutil.Process(connection.pid)
                return f"pid {connection.pid} ({' '.join(process.cmdline())[:80] or process.name()})"
    except psutil.Error:
        return "another process"
    return "another process"


def serve(target: str, settings: ServiceSettings) -> int:
    """
    Run a service until it is told to stop; return the exit code of the process.

    SIGTERM and SIGINT stop it gracefully: no new requests, open ones get `drain_timeout_s`, then the app's lifespan ends.

    Args:
        target: The ASGI app, `module:name`. It reads its settings from the environment, where host and port are put.
        settings: Where to listen and to log.

    Raises:
        ConfigError: The port is taken, or a folder can't be written.
        StateConflictError: The service runs already with this config root.
    """
    server: uvicorn.Server | None = None

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # uvicorn raises the signal once more after it has shut down; then the rest of this function must still run.
        if server is None or not server.should_exit:
            raise SystemExit(128 + number)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    pid_file = PidFile(settings.pid_file)
    paths.ensure_dir(settings.config_dir)
    try:
        pid_file.acquire()
        sock = bind(settings)
        port = int(sock.getsockname()[1])
        url = local_url(settings.host, port)
        os.environ[settings.env_name("config_dir")] = str(settings.config_dir)
        os.environ[settings.env_name("host")] = settings.host
        os.environ[settings.env_name("port")] = str(port)
        setup_logging(settings)
        config = uvicorn.Config(
            target,
            loop="uvloop",
            http="httptools",
            ws="auto" if settings.console else "none",  # the pages alone use it
            lifespan="on",
            log_config=None,
            access_log=settings.access_log,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
            backlog=BACKLOG,
        )
        server = uvicorn.Server(config)
        pid_file.write(RunningService(os.getpid(), psutil.Process().create_time(), settings.host, port, url))
        log.info("fustor-%s listens on %s", settings.service, url)
        try:
            server.run(sockets=[sock])
        except SystemExit as exc:  # uvicorn: the app could not start, and the log says why
            return int(exc.code or 0) and 1
        finally:
            sock.close()
        return 0 if server.started else 1
    finally:
        pid_file.release()
        close_logging()
        for number, handler in before.items():
            signal.signal(number, handler)
