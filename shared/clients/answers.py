"""The answer to a call with one answer, or the one kind of error that every client raises."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import grpc

from shared.kernel.errors import ErrorReason, ServiceError, from_rpc_error

Answer = TypeVar("Answer")


async def answer_of(call: Awaitable[Answer]) -> Answer:
    """The answer.

    Raises:
        ServiceError: as the server told, or DEPENDENCY_UNAVAILABLE, DEADLINE_EXCEEDED of the transport, or INTERNAL
            when the answer is no message of the contract (grpc.aio, seen with 1.85, logs that and gives None).
    """
    try:
        answer = await call
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
    if answer is None:
        raise ServiceError(ErrorReason.INTERNAL, "the answer cannot be decoded; is another program at this address?")
    return answer
