"""
The pusher for any service that describes itself with OpenAPI: sends the envelope as JSON, reads the answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import httpx
import msgspec

from fustor_core.drivers import PusherDriver
from fustor_core.errors import BatchRejected, ConfigError, ConnectionLost, FustorError, SessionSuperseded
from fustor_core.models.config import PusherConfig
from fustor_core.models.envelope import JSON, Envelope, WireEvent, to_wire
from fustor_core.models.event import EventBase
from fustor_pusher_openapi.discovery import Endpoints, find_endpoints
from fustor_pusher_openapi.faults import Doing, error_for, network_faults
from fustor_pusher_openapi.params import OpenApiParams, Shown, document_url, openapi_params

_ENVELOPE_FIELDS: Final = frozenset(Envelope.__struct_fields__) - {"events"}
_POSITIONS: Final = ("index", "latest_committed_index", "last_index", "position")
_SESSION_FIELDS: Final = ("heartbeat_interval", "epoch", "incarnation", "snapshot_request", "snapshot_id")
_KEEPALIVE_S: Final = 4.0  # below the five seconds after which common servers close
_BAD_VALUE: Final = (TypeError, ValueError, OverflowError)


class OpenApiPusher(PusherDriver):
    """
    Sends events to a service that names its endpoints in its OpenAPI document (see `discovery`).

    A service without sessions, heartbeats or positions is served too: sessions are made here then, and the agent keeps
    the position.

    Concurrency: the agent has two pushes under way only when no key is in both, so that plain UPSERT converges.

    Raises:
        ConfigError: Endpoint, credential or `driver_params` can't be used.
    """

    ordering: ClassVar[Literal["index", "arrival"]] = "arrival"
    params_model = OpenApiParams

    def __init__(self, id: str, config: PusherConfig) -> None:  # noqa: A002 - the name is part of the contract
        super().__init__(id, config)
        self._params = openapi_params(config.driver_params, id)
        self._document_url = document_url(config.endpoint, self._params)
        self._shown = Shown(config.credential, self._params)
        self._client: httpx.AsyncClient | None = None
        self._endpoints: Endpoints | None = None
        self._sessions: set[str] = set()

    async def push(self, events: Sequence[EventBase], **control: Any) -> dict[str, Any]:
        """
        Send one envelope; see `PusherDriver.push`. Returns what the service answered, with `snapshot_needed`.

        Raises:
            BatchRejected: Also when a value has no wire mapping: then nothing was sent.
        """
        endpoints = self._found()
        answer = await self._request(
            "POST", endpoints.batch, "push", body=self._pack(events, control), session_id=control.get("session_id")
        )
        return {**answer, "snapshot_needed": bool(answer.get("snapshot_needed"))}

    async def create_session(self, task_id: str, **kwargs: Any) -> dict[str, Any]:
        """
        Open a session; reads the OpenAPI document anew, so that a service that has changed is found again.
        """
        self._endpoints = None
        endpoints = await self._discover()
        if endpoints.session is None:
            made = f"local-{uuid.uuid4().hex}"
            self._sessions.add(made)
            return {"session_id": made}
        asked = {"task_id": task_id}
        if kwargs.get("agent_id"):
            asked["agent_id"] = str(kwargs["agent_id"])
        answer = await self._request("POST", endpoints.session, "open", body=msgspec.json.encode(asked))
        session_id = answer.get("session_id")
        if not isinstance(session_id, str | int) or session_id == "":
            raise ConfigError(
                f"{endpoints.session} answered no `session_id`",
                hint='a service that opens sessions answers `{"session_id": ...}`',
                context={"endpoint": endpoints.session},
            )
        told = {name: answer[name] for name in _SESSION_FIELDS if answer.get(name) is not None}
        return {**told, "session_id": str(session_id), "snapshot_needed": bool(answer.get("snapshot_needed"))}

    async def heartbeat(self, **kwargs: Any) -> dict[str, Any]:
        """
        Keep the session alive, when the service wants that; passes on `snapshot_needed`.
        """
        endpoints = self._found()
        if endpoints.heartbeat is None:
            return {}
        body = {"session_id": kwargs.get("session_id"), "task_id": kwargs.get("task_id")}
        return await self._request(
            "POST", endpoints.heartbeat, "session", body=msgspec.json.encode(body), session_id=kwargs.get("session_id")
        )

    async def close_session(self, **kwargs: Any) -> None:
        """
        End a session: `DELETE` where sessions are opened. A service that has no such operation ends it by itself.
        """
        endpoints, session_id = self._found(), str(kwargs.get("session_id") or "")
        if session_id in self._sessions:
            self._sessions.discard(session_id)
            return
        if endpoints.session is None:
            return
        with network_faults(endpoints.session, self._params.timeout_s):
            answer = await self._open().request(
                "DELETE", endpoints.session, params={"session_id": session_id}, headers={"session-id": session_id}
            )
        if answer.status_code >= 500:
            raise error_for(answer.status_code, answer.headers, answer.content, url=endpoints.session, doing="session")

    async def get_latest_committed_index(self, **kwargs: Any) -> int:
        """
        Return the position the service holds; -1 when it keeps none, and the agent does.
        """
        endpoints = self._found()
        if endpoints.status is None:
            return -1
        names = {name: str(kwargs[name]) for name in ("session_id", "task_id") if kwargs.get(name)}
        answer = await self._request(
            "GET", endpoints.status, "session", query=names, session_id=kwargs.get("session_id")
        )
        for name in _POSITIONS:
            if isinstance(answer.get(name), int):
                return int(answer[name])
        return -1

    async def close(self) -> None:
        """
        Close every connection. May be called twice.
        """
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    @classmethod
    async def test_connection(
        cls, *, endpoint: str, credential: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Read the OpenAPI document and find the endpoints in it; changes nothing at the service.
        """
        try:
            driver = cls(
                "test",
                PusherConfig(
                    driver="openapi", endpoint=endpoint, credential=credential, driver_params=driver_params or {}
                ),
            )
            try:
                found = await driver._discover()
            finally:
                await driver.close()
        except FustorError as exc:
            return False, str(exc)
        except ValueError as exc:
            return False, f"the configuration can't be used: {exc}"
        others = [
            f"{what} {url}"
            for what, url in (("sessions", found.session), ("heartbeats", found.heartbeat), ("position", found.status))
            if url is not None
        ]
        return True, "; ".join([f"pushes go to {found.batch}", *others])

    @classmethod
    async def get_wizard_steps(cls) -> dict[str, Any]:
        """
        Return one step: where the service is, how to show who we are, and how to send.
        """
        return {
            "steps": [
                {
                    "step_id": "connection",
                    "title": "Which service?",
                    "schema": {
                        "type": "object",
                        "required": ["endpoint"],
                        "properties": {
                            "endpoint": {"type": "string", "format": "uri", "title": "Address"},
                            "credential": {
                                "type": "object",
                                "properties": {
                                    "user": {"type": "string", "title": "User"},
                                    "passwd": {"type": "string", "format": "password", "title": "Password"},
                                    "key": {"type": "string", "format": "password", "title": "API key or token"},
                                },
                            },
                            "driver_params": OpenApiParams.model_json_schema(),
                        },
                    },
                    "validations": ["test_connection"],
                }
            ]
        }

    def _pack(self, events: Sequence[EventBase], control: Mapping[str, Any]) -> bytes:
        values = {k: v for k, v in control.items() if k in _ENVELOPE_FIELDS and v is not None}
        try:
            return msgspec.json.encode({**values, "events": [self._written(event) for event in to_wire(events)]})
        except _BAD_VALUE:
            raise _blamed(events) from None

    def _written(self, event: WireEvent) -> dict[str, Any]:
        """
        Write every field out: who reads this may not know what it means when one is missing.
        """
        written = {name: getattr(event, name) for name in WireEvent.__struct_fields__}
        if self._params.rows == "objects":
            written["rows"] = [dict(zip(event.fields, row, strict=True)) for row in event.rows]
        return written

    def _found(self) -> Endpoints:
        if self._endpoints is None:
            raise SessionSuperseded("no session is open", context={"endpoint": self.config.endpoint})
        return self._endpoints

    async def _discover(self) -> Endpoints:
        document = await self._request("GET", self._document_url, "discover")
        self._shown.learn(document)
        self._endpoints = find_endpoints(document, self._document_url, self._params)
        return self._endpoints

    async def _request(
        self,
        method: str,
        url: str,
        doing: Doing,
        *,
        body: bytes | None = None,
        query: dict[str, str] | None = None,
        session_id: Any = None,
    ) -> dict[str, Any]:
        headers = {"Content-Type": JSON} if body is not None else {}
        if session_id:
            headers["session-id"] = str(session_id)
        with network_faults(url, self._params.timeout_s):
            send = partial(self._open().request, method, url, content=body, params=query, headers=headers)
            try:
                answer = await send()
            except (httpx.ReadError, httpx.RemoteProtocolError):
                # A kept connection that the service has just closed. A push may come twice anyway: send it once more at once.
                answer = await send()
        if not answer.is_success:
            raise error_for(answer.status_code, answer.headers, answer.content, url=url, doing=doing)
        if not answer.content:
            return {}
        try:
            read = msgspec.json.decode(answer.content)
        except msgspec.DecodeError as exc:
            read = exc
        if isinstance(read, dict):
            return read
        if doing == "push" and read is None:
            return {}
        message = f"{url} answered what is no JSON object: {answer.text[:100]!r}"
        if doing in ("discover", "open"):
            raise ConfigError(message, hint="check `endpoint` of this pusher", context={"endpoint": url})
        raise ConnectionLost(message, hint="a proxy between may be at fault", context={"endpoint": url})

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            params = self._params
            verify: Any = params.verify_tls
            if params.verify_tls and params.ca_file is not None:
                verify = _context(params.ca_file)
            self._client = httpx.AsyncClient(
                auth=self._shown,
                headers={"Accept": JSON, "User-Agent": "fustor-pusher-openapi", **params.headers},
                timeout=httpx.Timeout(params.timeout_s, connect=params.connect_timeout_s),
                limits=httpx.Limits(keepalive_expiry=_KEEPALIVE_S),
                verify=verify,
            )
        return self._client


def _context(ca_file: str) -> Any:
    import ssl

    try:
        return ssl.create_default_context(cafile=str(Path(ca_file).expanduser()))
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"`ca_file` {ca_file!r} of an openapi pusher can't be read: {exc}",
            hint="give the path of a file of certificates in PEM form",
        ) from None


def _blamed(events: Sequence[EventBase]) -> BatchRejected:
    """
    Say which events hold a value that has no wire mapping.
    """
    rejected: dict[int, str] = {}
    for at, event in enumerate(events):
        try:
            msgspec.json.encode(to_wire([event]))
        except _BAD_VALUE as exc:
            rejected[at] = str(exc)
    return BatchRejected(
        f"{len(rejected)} of {len(events)} events hold values that can't be sent",
        rejected=rejected,
        hint="the driver of the source must convert them; see `fustor_core.values`",
    )
