"""
Configuration keeps its names and defaults, and its secrets.
"""

import pytest
from pydantic import ValidationError

from fustor_core.models.config import (
    ApiKeyCredential,
    FieldMapping,
    PasswdCredential,
    PusherConfig,
    SourceConfig,
    SyncConfig,
)


def test_source_defaults() -> None:
    config = SourceConfig(driver="fs", uri="/data")

    assert (config.max_queue_size, config.max_retries, config.retry_delay_sec) == (1000, 10, 5)
    assert config.disabled is True
    assert config.driver_params == {}


def test_pusher_defaults() -> None:
    config = PusherConfig(driver="fusion", endpoint="http://127.0.0.1:8102")

    assert (config.batch_size, config.max_retries, config.disabled) == (100, 10, True)


def test_sync_defaults() -> None:
    config = SyncConfig(source="a", pusher="b", fields_mapping=[FieldMapping(to="x", source=["t.a"])])

    assert config.disabled is False
    assert config.fields_mapping[0].required is False


def test_credentials_are_told_apart_by_their_fields() -> None:
    by_password = SourceConfig.model_validate({"driver": "d", "uri": "u", "credential": {"user": "a", "passwd": "b"}})
    by_key = PusherConfig.model_validate({"driver": "d", "endpoint": "e", "credential": {"key": "k"}})
    key_and_user = PusherConfig.model_validate(
        {"driver": "d", "endpoint": "e", "credential": {"user": "a", "key": "k"}}
    )

    assert isinstance(by_password.credential, PasswdCredential)
    assert isinstance(by_key.credential, ApiKeyCredential)
    assert isinstance(key_and_user.credential, ApiKeyCredential)


def test_a_secret_shows_in_no_text_form() -> None:
    config = PusherConfig(driver="d", endpoint="e", credential=ApiKeyCredential(key="s3cret"))  # type: ignore[arg-type]

    for shown in (repr(config), str(config), str(config.model_dump()), config.model_dump_json()):
        assert "s3cret" not in shown
    assert isinstance(config.credential, ApiKeyCredential)
    assert config.credential.key.get_secret_value() == "s3cret"


def test_a_misspelt_setting_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="batchsize"):
        PusherConfig.model_validate({"driver": "d", "endpoint": "e", "batchsize": 3})
