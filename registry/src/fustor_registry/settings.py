"""
Settings of the Registry, read from `FUSTOR_REGISTRY_*`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from fustor_common.settings import ServiceSettings
from fustor_registry.passwords import SHORTEST


class RegistrySettings(ServiceSettings):
    """
    What the Registry can be told.
    """

    model_config = SettingsConfigDict(env_prefix="FUSTOR_REGISTRY_")

    service: ClassVar[str] = "registry"

    port: int = Field(8101, ge=0, le=65535, description="Port to listen on; 0 = any free one.")
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the database; by default SQLite at `<config root>/registry.db`."
    )
    admin_password: SecretStr | None = Field(
        None,
        min_length=SHORTEST,
        description="Password of the user `admin`, who is created when there are no users yet.",
    )
    access_ttl_s: int = Field(900, ge=10, description="How long an access token is good, seconds.")
    login_ttl_s: int = Field(
        12 * 3600, ge=60, description="How long a login lasts while its tokens are refreshed, seconds."
    )
    verify_ttl_s: int = Field(5, ge=0, le=10, description="How long Fusion may rely on the check of a key, seconds.")
    login_failures: int = Field(5, ge=1, description="Failed logins of one name before it has to wait.")
    login_failures_of_address: int = Field(
        50, ge=1, description="Failed logins from one address before it has to wait."
    )
    login_wait_s: float = Field(
        30, gt=0, description="How long it then has to wait, seconds; twice as long after each further failure."
    )
    login_wait_most_s: float = Field(900, gt=0, description="Longest such wait, seconds.")
    agent_interval_s: float = Field(30, gt=0, description="How often agents are told to report, seconds.")

    @property
    def url_of_database(self) -> str:
        """
        The SQLAlchemy URL, with its password: never log it.
        """
        if self.database_url is None:
            return f"sqlite:///{self.config_dir / 'registry.db'}"
        return self.database_url.get_secret_value()
