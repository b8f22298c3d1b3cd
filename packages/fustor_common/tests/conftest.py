from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

SERVICE = """
from __future__ import annotations
import asyncio, logging, os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fustor_common.app import create_service_app
from fustor_common.settings import ServiceSettings
from fustor_core.errors import ConfigError
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

H = "hunter" + "2"  # a source line in a traceback is not the secret

class DemoSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="FUSTOR_DEMO_")
    service: ClassVar[str] = "demo"
    port: int = 0
    broken: bool = False
    stubborn: bool = False

def create_app() -> FastAPI:
    settings = DemoSettings.load()
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if settings.broken:
            raise ConfigError("the demo is broken", hint="mend it")
        yield
        logging.getLogger("demo").info("closed in good order")
        if settings.stubborn:
            await asyncio.sleep(3600)
    app = create_service_app(settings, title="Demo", version="1", lifespan=lifespan)

    @app.get("/slow")
    async def slow() -> str:
        logging.getLogger("demo").info("slow begins")
        await asyncio.sleep(1)
        return "done"

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            while True:
                yield "data: x\\n\\n"
                await asyncio.sleep(3600)
        return StreamingResponse(app.state.stopping.until(lines()), media_type="text/event-stream")

    @app.get("/secrets")
    async def secrets() -> str:
        log = logging.getLogger("demo")
        log.info("in extra", extra={"password": H, "config": {"api_key": H, "x": SecretStr(H)}})
        log.info("in text %s", f"postgresql://u:{H}@host/db Bearer {H}{H} fk_01234567_" + H * 6 + "x")
        raise RuntimeError("fk_01234567_" + H * 6 + "x")
    return app

app = create_app()
"""


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """
    A folder with the module `demo_service`, a whole service of its own.
    """
    folder = tmp_path / "code"
    folder.mkdir()
    text = textwrap.dedent(SERVICE)
    settings, app = text.split("def create_app", 1)
    (folder / "demo_settings.py").write_text(settings)
    (folder / "demo_service.py").write_text(
        settings.split("class DemoSettings")[0] + "from demo_settings import DemoSettings\n\ndef create_app" + app
    )
    (folder / "demo_cli.py").write_text(
        "from demo_settings import DemoSettings\n"
        "from fustor_common.cli import build_service_cli\n"
        'build_service_cli("Demo", "demo_service:app", DemoSettings)()\n'
    )
    return folder
