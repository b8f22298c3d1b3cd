"""
Settings every service has, read from the environment: `FUSTOR_<SERVICE>_<FIELD>`.

A service derives its own class and names itself:

    class AgentSettings(ServiceSettings):
        model_config = SettingsConfigDict(env_prefix="FUSTOR_AGENT_")
        service: ClassVar[str] = "agent"
        port: int = Field(8100, ge=0, le=65535, description="...")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fustor_common import paths
from fustor_core.drivers import config_root
from fustor_core.errors import ConfigError

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class ServiceSettings(BaseSettings):
    """
    What every service can be told. Explicit arguments win over the environment.
    """

    model_config = SettingsConfigDict(extra="forbid", validate_default=True, populate_by_name=True)

    service: ClassVar[str] = "service"
    """
    Short name of the service: names its files and its command (`fustor-<service>`).
    """

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8100, ge=0, le=65535, description="Port to listen on; 0 = any free one.")
    log_level: LogLevel = Field("INFO", description="Least severe level that is logged.")
    log_console: bool = Field(True, description="Also write readable log lines to stderr.")
    access_log: bool = Field(False, description="Log every HTTP request.")
    config_dir: Path = Field(
        default_factory=config_root,
        validation_alias="FUSTOR_CONFIG_DIR",
        description="Folder of configuration, state and logs.",
    )
    console: bool = Field(True, description="Serve the pages for people.")
    console_idle_s: float = Field(
        3600, gt=0, description="Who does nothing in the pages for so long is signed out, seconds."
    )
    console_longest_s: float = Field(12 * 3600, gt=0, description="Who signed in so long ago is signed out, seconds.")
    cookie_secure: Literal["auto", "always"] = Field(
        "auto",
        description="Whether cookies go over https alone; auto: when the request came that way. Set `always` behind a proxy that speaks https.",
    )
    drain_timeout_s: float = Field(4, gt=0, description="How long a stop waits for open requests, seconds.")
    close_timeout_s: float = Field(5, gt=0, description="How long a stop then waits for the service to close, seconds.")

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("config_dir", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.absolute()

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """
        Read the settings from the environment; `overrides` that are not None win.

        Raises:
            ConfigError: A value is wrong; names the environment variable.
        """
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as exc:
            problems = [f"{cls.env_name(str(e['loc'][0]))}: {e['msg']}" for e in exc.errors(include_input=False)]
            raise ConfigError(
                f"settings of {cls.service!r} can't be used: " + "; ".join(problems),
                hint="correct or unset these environment variables (or options), then start again",
                context={"service": cls.service, "problems": problems},
            ) from None  # the original text would show the values, which may be secrets

    @classmethod
    def env_name(cls, field: str) -> str:
        """
        Return the environment variable of a field.
        """
        if field in {"config_dir", "FUSTOR_CONFIG_DIR"}:
            return "FUSTOR_CONFIG_DIR"
        return f"{cls.model_config.get('env_prefix', '')}{field}".upper()

    @property
    def url(self) -> str:
        """
        Where the service is reached from this machine.
        """
        return local_url(self.host, self.port)

    @property
    def log_file(self) -> Path:
        """
        The log of this service.
        """
        return paths.log_file(self.service, self.config_dir)

    @property
    def pid_file(self) -> Path:
        """
        The pid file of this service.
        """
        return paths.pid_file(self.service, self.config_dir)


def local_url(host: str, port: int) -> str:
    """
    Return the URL at which a server that listens on `host` is reached from the same machine.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # "any" is no address to connect to
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
