"""
What the wizard and the API ask of this driver before a pusher exists.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fustor_core.errors import FustorError
from fustor_pusher_fusion.client import FusionClient
from fustor_pusher_fusion.faults import not_fusion
from fustor_pusher_fusion.params import INGEST, RECOMMENDED_BATCH_SIZE, FusionParams, api_key, base_url, fusion_params


async def probe(endpoint: str, credential: Any, driver_params: dict[str, Any] | None) -> tuple[bool, str]:
    """
    Ask Fusion for its list of syncs: that needs the right address and a valid key, and changes nothing.
    """
    try:
        url = base_url(endpoint)
        client = FusionClient(url, api_key(credential), fusion_params(driver_params))
        try:
            answer = await client.request("GET", f"{INGEST}/syncs/", doing="probe")
        finally:
            await client.close()
        try:
            syncs = msgspec.json.decode(answer, type=list[dict[str, Any]])
        except msgspec.DecodeError as exc:
            raise not_fusion(url, str(exc), doing="probe") from None
    except FustorError as exc:
        return False, str(exc)
    return True, f"Fusion at {url} answers and accepts the API key; {len(syncs)} syncs send to its datastore"


def wizard_steps() -> dict[str, Any]:
    """
    Return two steps: where Fusion is and the key for it, then how to send.
    """
    return {
        "steps": [
            {
                "step_id": "connection",
                "title": "Where is Fusion?",
                "schema": {
                    "type": "object",
                    "required": ["endpoint", "credential"],
                    "properties": {
                        "endpoint": {
                            "type": "string",
                            "format": "uri",
                            "title": "Address",
                            "default": "http://127.0.0.1:8102",
                        },
                        "credential": {
                            "type": "object",
                            "required": ["key"],
                            "properties": {
                                "key": {
                                    "type": "string",
                                    "format": "password",
                                    "title": "API key",
                                    "description": "From the Registry; `${ENV_NAME}` or `file:PATH` keeps it out of the file.",
                                }
                            },
                        },
                    },
                },
                "validations": ["test_connection"],
            },
            {
                "step_id": "sending",
                "title": "How to send",
                "schema": {
                    "type": "object",
                    "properties": {
                        "batch_size": {
                            "type": "integer",
                            "minimum": 1,
                            "default": RECOMMENDED_BATCH_SIZE,
                            "title": "Most rows in one push",
                        },
                        "driver_params": FusionParams.model_json_schema(),
                    },
                },
                "validations": [],
            },
        ]
    }
