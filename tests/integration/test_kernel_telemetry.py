"""What leaves a process for its operators: metrics and traces."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from winnow.v1 import feedback_service_pb2, feedback_service_pb2_grpc

from shared.kernel.config import ConfigError
from shared.kernel.context import detail
from shared.kernel.slowness import set_slow_ms
from shared.kernel.telemetry import DEGRADED, Label, counter, gauge, histogram, serve_metrics
from shared.kernel.tracing import configure_tracing, inner_span
from tests.integration.kernel_servers import UNARY, Context, Request, Response, calling, captured_logs, serving

Tail = feedback_service_pb2.TailEventsRequest
Records = feedback_service_pb2.TailEventsResponse
ASKED = Request(recommendation_id="r-1")


def scrape(port: int) -> str:
    """What Prometheus would read."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


async def test_metrics_are_served_where_prometheus_asks() -> None:
    with serve_metrics("127.0.0.1", 0) as port:
        async with serving() as address, calling(address) as stub:
            await stub.GetSlate(ASKED)
        DEGRADED.labels("rank", "timeout").inc()
        text = await asyncio.to_thread(scrape, port)

    assert f'winnow_rpc_handled_total{{code="OK",method="{UNARY}"}}' in text
    assert f'winnow_rpc_seconds_bucket{{code="OK",le="0.001",method="{UNARY}"}}' in text
    assert 'winnow_degraded_total{reason="timeout",stage="rank"}' in text


def test_a_service_declares_metrics_of_its_own_in_the_same_namespace() -> None:
    counter("lamps_switched", "Times a lamp was switched.", [Label.REASON]).labels("dark").inc(2)
    gauge("lamp_volts", "What the lamp gets.").set(230)
    histogram("lamp_seconds", "How long lamps burn.", buckets=(1, 10)).observe(5)

    with serve_metrics("127.0.0.1", 0) as port:
        text = scrape(port)

    assert 'winnow_lamps_switched_total{reason="dark"} 2.0' in text
    assert "winnow_lamp_volts 230.0" in text
    assert 'winnow_lamp_seconds_bucket{le="10.0"} 1.0' in text


def test_a_taken_metrics_port_is_named_with_the_remedy() -> None:
    with (
        serve_metrics("127.0.0.1", 0) as port,
        pytest.raises(ConfigError, match=f"127.0.0.1:{port}.*free the port"),
        serve_metrics("127.0.0.1", port),
    ):
        pytest.fail("two servers on one port")


async def test_a_trace_has_the_edge_from_service_to_service() -> None:
    exporter = InMemorySpanExporter()
    with configure_tracing("test", "", exporter=exporter):
        async with serving() as inner_address, calling(inner_address) as inner_stub:

            async def forward(request: Request, context: Context) -> Response:
                return await inner_stub.GetSlate(request)

            async with serving(GetSlate=forward) as address, calling(address) as stub:
                await stub.GetSlate(ASKED, metadata=(("x-request-id", "r-7"),))

    spans = exporter.get_finished_spans()
    assert edge(spans) == ["CLIENT", "SERVER", "CLIENT", "SERVER"]
    assert {
        span.attributes["winnow.request_id"] for span in spans if span.attributes and span.kind.name == "SERVER"
    } == {"r-7"}


@pytest.mark.usefixtures("no_request_is_slow")
@pytest.mark.parametrize(("ratio", "names"), [(1.0, ["think", UNARY]), (0.0, [])])
async def test_a_part_of_a_sampled_request_is_a_span_with_its_calls_under_it_and_of_another_none(
    ratio: float, names: list[str]
) -> None:
    exporter = InMemorySpanExporter()
    with configure_tracing("test", "", sample_ratio=ratio, exporter=exporter):
        async with serving() as inner_address, calling(inner_address) as inner_stub:

            async def forward(request: Request, context: Context) -> Response:
                with inner_span("think"):
                    return await inner_stub.GetSlate(request)

            async with serving(GetSlate=forward) as address, grpc.aio.insecure_channel(address) as channel:
                stub: Any = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
                await stub.GetSlate(ASKED)

    spans = exporter.get_finished_spans()
    by_id = {span.context.span_id: span for span in spans if span.context}
    inner = [span for span in spans if span.name == "think"]
    above = [by_id[span.parent.span_id].name for span in inner if span.parent]
    below = [span.name for span in spans if span.parent and by_id.get(span.parent.span_id) in inner]
    assert [span.name for span in inner] + above == names
    assert below == names[1:]


async def test_without_a_collector_nothing_is_sent_along() -> None:
    seen = []

    async def answer(request: Request, context: Context) -> Response:
        seen.append(dict(context.invocation_metadata() or ()))
        return Response()

    with configure_tracing("test", ""):
        async with serving(GetSlate=answer) as address, calling(address) as stub:
            await stub.GetSlate(ASKED)

    assert "traceparent" not in seen[0]


def edge(spans: tuple[ReadableSpan, ...]) -> list[str]:
    """The kinds of the spans of one trace, from the root down."""
    by_parent = {span.parent.span_id if span.parent else None: span for span in spans}
    kinds, parent = [], None
    while span := by_parent.get(parent):
        kinds.append(span.kind.name)
        parent = span.context.span_id if span.context else None
    return kinds


@pytest.fixture
def no_request_is_slow() -> Iterator[None]:
    """Until a test says otherwise."""
    set_slow_ms(3_600_000)
    yield
    set_slow_ms(0)


async def slowly(request: Request, context: Context) -> Response:
    """A method that takes too long: from now on every time is."""
    detail(stages_ms={"think": 60})
    set_slow_ms(1e-6)
    return Response()


@pytest.mark.usefixtures("no_request_is_slow")
async def test_a_slow_request_is_traced_whatever_the_sampling_with_its_calls_and_a_quick_one_is_not() -> None:
    exporter = InMemorySpanExporter()
    with configure_tracing("test", "", sample_ratio=0, exporter=exporter):
        async with serving() as inner_address, calling(inner_address) as inner_stub:

            async def forward(request: Request, context: Context) -> Response:
                await inner_stub.GetSlate(request)
                await inner_stub.GetSlate(request)
                return await slowly(request, context)

            async with serving(GetSlate=forward) as address, grpc.aio.insecure_channel(address) as channel:
                stub: Any = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
                await stub.GetSlate(ASKED)

    spans = exporter.get_finished_spans()
    assert sorted(span.kind.name for span in spans) == ["CLIENT", "CLIENT", "SERVER"]
    assert all(span.context and span.context.trace_flags.sampled for span in spans)


async def test_a_request_that_fails_by_our_own_fault_is_traced_whatever_the_sampling() -> None:
    async def broken(request: Request, context: Context) -> Response:
        raise ZeroDivisionError

    exporter = InMemorySpanExporter()
    with configure_tracing("test", "", sample_ratio=0, exporter=exporter):
        async with serving(GetSlate=broken) as address, grpc.aio.insecure_channel(address) as channel:
            stub: Any = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.GetSlate(ASKED)

    assert [span.status.status_code.name for span in exporter.get_finished_spans()] == ["ERROR"]


@pytest.mark.usefixtures("no_request_is_slow")
async def test_a_slow_request_has_a_second_line_with_its_stages_and_a_stream_has_none() -> None:
    async def tail(request: Tail, context: Context) -> AsyncIterator[Records]:
        yield Records()

    with captured_logs() as logs:
        async with serving(GetSlate=slowly, TailEvents=tail) as address, calling(address) as stub:
            await stub.GetSlate(ASKED)
            assert [each async for each in stub.TailEvents(Tail())] == [Records()]

    slow = [line for line in logs if line["event"] == "rpc.slow"]
    assert [(line["method"], line["stages_ms"]) for line in slow] == [(UNARY, {"think": 60})]
    assert [line["method"] for line in logs if line["event"] == "rpc"] == [
        UNARY,
        "winnow.v1.FeedbackService/TailEvents",
    ]
