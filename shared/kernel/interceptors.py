"""The outermost layer of a server: the one place that catches all, and that knows how an error is sent.

One interceptor does it all, because each layer of grpc.aio's interceptors costs every request, and the order of the
steps matters: begin the call, take it on, check the request, run the handler under a deadline, tell the error, log.
Handlers of all four kinds become coroutines here, async generators too, so that a cancellation always lands inside
the `try` that accounts for it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any, Final, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError, Message

from shared.kernel.admission import Admission, RequestLimits, lively
from shared.kernel.call import QUIET_PREFIX, Arrival, Call
from shared.kernel.errors import STATUS_DETAILS_KEY, ErrorReason, ServiceError, invalid_fields, to_status
from shared.kernel.gate import Gate
from shared.kernel.policy import Caller
from shared.kernel.telemetry import MetadataKey
from shared.kernel.validation import violations

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

MAKERS: Final[dict[tuple[bool, bool], Callable[..., Handler]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""By (requests stream, answers stream)."""
IDENTITY_PROPERTIES: Final = ("peer_uri", "peer_dns")
"""gRPC's names for the URIs, SPIFFE's among them, and the DNS names of a verified certificate."""


class RequestInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of a server, health and reflection included."""

    def __init__(self, limits: RequestLimits, admission: Admission, gate: Gate) -> None:
        self.limits = limits
        self.admission = admission
        self.gate = gate
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Gives grpc the wrapped handler; None, where there is no such method, makes it answer UNIMPLEMENTED."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            wrapped = _Method(method.lstrip("/"), handler, self).handler()
            known = self._wrapped[method] = (handler, wrapped)
        return known[1]


class _Method:
    """One method of a service as the server runs it."""

    def __init__(self, name: str, handler: Handler, owner: RequestInterceptor) -> None:
        self._name = name
        self._inner = handler
        self._limits = owner.limits
        self._admission = owner.admission
        self._gate = owner.gate
        self._behaviour = _behaviour(name, handler)

    def handler(self) -> Handler:
        """The handler for grpc. Messages are decoded and encoded inside `_handle` where grpc allows it."""
        streams_in, streams_out = bool(self._inner.request_streaming), bool(self._inner.response_streaming)
        return MAKERS[streams_in, streams_out](
            self._handle,
            request_deserializer=self._parse if streams_in else None,
            response_serializer=self._inner.response_serializer if streams_out else None,
        )

    async def _handle(self, request: Any, context: Context) -> bytes | None:
        call = Call(self._arrival(context))
        context.set_trailing_metadata(((MetadataKey.REQUEST_ID.value, call.request_id),))
        code = None
        try:
            with self._admitted(self._gate.admit(self._name, _caller(context))):
                return await self._answer(request, context)
        except (asyncio.CancelledError, grpc.aio.InternalError):  # InternalError: the answer met a broken connection
            code = call.cancelled_code()
            raise
        except grpc.aio.AbortError:  # the handler answered by itself, as health does for a name that it does not know
            raise
        except Exception as error:  # noqa: BLE001 - the one place that catches all
            await _abort(context, call, call.failure(error))
        finally:
            call.finish(code or _code(context))
        return None

    def _admitted(self, client: str) -> AbstractContextManager[None]:
        if self._inner.response_streaming:
            return self._admission.stream(client)
        return nullcontext() if self._name.startswith(QUIET_PREFIX) else self._admission.single()

    async def _answer(self, request: Any, context: Context) -> bytes | None:
        streams = self._inner.request_streaming
        asked = lively(request, self._limits.stream_idle_ms) if streams else self._parse(request)
        if self._inner.response_streaming:
            await self._stream(asked, context)
            return None
        async with asyncio.timeout(self._own_deadline_s(context)):
            answer = await self._behaviour(asked, context)
        return self._inner.response_serializer(answer) if self._inner.response_serializer else answer

    async def _stream(self, asked: Any, context: Context) -> None:
        if inspect.iscoroutinefunction(self._behaviour):  # it writes to the context itself
            await self._behaviour(asked, context)
            return
        async with aclosing(self._behaviour(asked, context)) as answers:
            async for answer in answers:
                await context.write(answer)

    def _parse(self, raw: bytes) -> Any:
        limit = self._limits.max_request_bytes
        if len(raw) > limit:
            raise _too_large(len(raw), limit)
        try:
            message = self._inner.request_deserializer(raw) if self._inner.request_deserializer else raw
        except DecodeError as error:
            raise ServiceError(ErrorReason.INVALID_FIELD, f"the bytes are no request of {self._name}") from error
        if isinstance(message, Message) and (broken := violations(message)):
            raise invalid_fields(broken)
        return message

    def _own_deadline_s(self, context: Context) -> float | None:
        """Seconds for a request that came without a deadline; grpc itself cancels those that came with one."""
        if self._inner.response_streaming or context.time_remaining() is not None:
            return None
        return self._limits.default_deadline_ms / 1000

    def _arrival(self, context: Context) -> Arrival:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        given = context.time_remaining()
        budget_s = self._own_deadline_s(context) if given is None else given
        streams = bool(self._inner.request_streaming or self._inner.response_streaming)
        return Arrival(self._name, metadata, context.peer(), budget_s, streams)


def _behaviour(name: str, handler: Handler) -> Callable[..., Any]:
    behaviour: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    if not (inspect.iscoroutinefunction(behaviour) or inspect.isasyncgenfunction(behaviour)):
        raise TypeError(f"{name} must be async: this server has no threads for handlers")
    return cast("Callable[..., Any]", behaviour)


def _caller(context: Context) -> Caller:
    """Who calls: the names in the verified certificate, if there is one, and the address without its port."""
    verified = context.auth_context() or {}
    names = [name.decode("utf-8", "replace") for key in IDENTITY_PROPERTIES for name in verified.get(key, ())]
    return Caller(tuple(names), context.peer().rpartition(":")[0])


async def _abort(context: Context, call: Call, error: ServiceError) -> None:
    details = to_status(error).SerializeToString()
    trailer = ((STATUS_DETAILS_KEY, details), (MetadataKey.REQUEST_ID.value, call.request_id))
    await context.abort(error.code, error.message, trailer)


def _code(context: Context) -> grpc.StatusCode:
    code = context.code()
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.OK


def _too_large(found: int, limit: int) -> ServiceError:
    message = f"the message has {found} bytes, the limit is {limit}; send less at once"
    return ServiceError(
        ErrorReason.MESSAGE_TOO_LARGE, message, metadata={"bytes": str(found), "limitBytes": str(limit)}
    )
