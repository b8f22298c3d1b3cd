"""
Settings of the Registry, read from `FUSTOR_REGISTRY_*`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from fustor_common.settings import ServiceSettings


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
        None, min_length=8, description="Password of the user `admin`, who is created when there are no users yet."
    )
    login_ttl_s: int = Field(12 * 3600, ge=60, description="How long a login lasts, seconds.")
    verify_ttl_s: int = Field(5, ge=0, le=10, description="How long Fusion may rely on the check of a key, seconds.")
    login_failures: int = Field(5, ge=1, description="Failed logins of one name or address before it has to wait.")
    login_wait_s: float = Field(30, gt=0, description="How long it then has to wait, seconds.")

    @property
    def url_of_database(self) -> str:
        """
        The SQLAlchemy URL, with its password: never log it.
        """
        if self.database_url is None:
            return f"sqlite:///{self.config_dir / 'registry.db'}"
        return self.database_url.get_secret_value()
