"""The feedback service put together: the log, what comes in, what goes out, and what is hosted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
from winnow.v1 import catalog_service_pb2, feedback_service_pb2, privacy_service_pb2
from winnow.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
from winnow.v1.feedback_service_pb2_grpc import add_FeedbackServiceServicer_to_server
from winnow.v1.privacy_service_pb2_grpc import add_PrivacyServiceServicer_to_server

from services.feedback.catalog_servicer import CatalogServicer
from services.feedback.intake import LogIntake
from services.feedback.log_opening import open_log
from services.feedback.port import LogFeedback
from services.feedback.privacy_servicer import PrivacyServicer
from services.feedback.retention import Retention
from services.feedback.servicer import FeedbackServicer
from services.feedback.settings import FeedbackSettings
from services.feedback.sqlite_log import SqliteEventLog
from services.feedback.trained_bundles import RegistryBundles
from services.feedback.validation import TimeRules
from shared.domain.event_log import EventLog
from shared.domain.intake import Intake
from shared.domain.services import Feedback
from shared.kernel.background import Supervised
from shared.kernel.clock import Clock
from shared.kernel.readiness import Readiness
from shared.kernel.server import Hosted

SERVICE_NAMES = tuple(
    service.full_name
    for module in (feedback_service_pb2, catalog_service_pb2, privacy_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)


@dataclass(frozen=True, slots=True)
class FeedbackApp:
    """The running service.

    Attributes:
        hosted: for a server.
        feedback: for other services in the same process.
        intake: for who brings facts in the same process, such as a bulk import: `await intake.record_events(events)`.
        log: the event log itself.
    """

    hosted: Hosted
    feedback: Feedback
    intake: Intake
    log: EventLog


@asynccontextmanager
async def open_feedback(settings: FeedbackSettings, clock: Clock) -> AsyncIterator[FeedbackApp]:
    """Open the log and run the service over it until the block ends; then what was accepted is on the disk.

    Raises:
        ConfigError: the log cannot be opened; names the path and the remedy.
    """
    async with open_log(settings, clock) as log:
        beside = str(settings.data_dir.absolute() / "registry")
        bundles = RegistryBundles(settings.registry_url or beside, may_be_missing=not settings.registry_url)
        rules = TimeRules(settings.future_skew_ms, settings.retention)
        intake = LogIntake(log, clock, rules, bundles)
        feedback, readiness = LogFeedback(log, intake), Readiness()
        readiness.set(True)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(intake.close)
            tasks = await stack.enter_async_context(Supervised())
            if settings.retention.any and isinstance(log, SqliteEventLog):
                tasks.start("retention", Retention(log, settings.retention, clock, settings.future_skew_ms).run)
            yield FeedbackApp(_hosted(intake, feedback, readiness), feedback, intake, log)


def _hosted(intake: LogIntake, feedback: Feedback, readiness: Readiness) -> Hosted:
    def register(server: grpc.aio.Server) -> None:
        add_FeedbackServiceServicer_to_server(FeedbackServicer(intake, feedback), server)
        add_CatalogServiceServicer_to_server(CatalogServicer(intake), server)
        add_PrivacyServiceServicer_to_server(PrivacyServicer(intake), server)

    return Hosted(SERVICE_NAMES, register, readiness)
