"""How a ranker is asked over gRPC and over JSON: encoding and decoding by the client are part of each request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
from winnow.v1.ranking_service_pb2_grpc import RankingServiceStub

from shared.domain.ranking import RankingRequest
from tests.benchmarks.peers.questions import question_of
from tests.benchmarks.ranking_requests import messages_of
from tests.benchmarks.servers import Server

Ask = Callable[[int], Awaitable[Any]]
"""From the number of a request to the probabilities of its candidates, however nested."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an HTTP API puts around questions and answers.

    Attributes:
        path: of the method.
        question: name of its argument, "" = none.
        many: it takes a list of questions, for its batches.
    """

    path: str = ""
    question: str = ""
    many: bool = False

    def wrapped(self, question: Any) -> Any:
        """What is sent."""
        asked = [question] if self.many else question
        return {self.question: asked} if self.question else asked

    def unwrapped(self, answer: Any) -> Any:
        """The answer to the one question."""
        return answer[0] if self.many else answer


@asynccontextmanager
async def open_asking(
    server: Server, requests: Sequence[RankingRequest], dialect: Dialect | None
) -> AsyncIterator[Ask]:
    """Ask a server over one gRPC channel, or over HTTP where a dialect is given."""
    opened = over_grpc(server, requests) if dialect is None else over_http(server, requests, dialect)
    async with opened as ask:
        yield ask


@asynccontextmanager
async def over_grpc(server: Server, requests: Sequence[RankingRequest]) -> AsyncIterator[Ask]:
    """Over one channel."""
    messages = messages_of(requests)
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        rank = RankingServiceStub(channel).Rank

        async def ask(number: int) -> Any:
            answer = await rank(messages[number % len(messages)], metadata=server.metadata)
            return answer.probabilities

        yield ask


@asynccontextmanager
async def over_http(server: Server, requests: Sequence[RankingRequest], dialect: Dialect) -> AsyncIterator[Ask]:
    """Over connections that stay open."""
    questions = [dialect.wrapped(question_of(request)) for request in requests]
    url, headers = server.url + dialect.path, {"content-type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def ask(number: int) -> Any:
            body = json.dumps(questions[number % len(questions)])
            async with session.post(url, data=body, raise_for_status=True) as answered:
                return dialect.unwrapped(json.loads(await answered.read()))["probabilities"]

        yield ask
