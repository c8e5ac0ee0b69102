"""The event log from the command line: that of the running services, else the one in the data folder."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.clients.feedback import IDEMPOTENT_METHODS, GrpcFeedback
from shared.domain.intake import Intake
from shared.domain.services import Feedback
from shared.kernel.client import ChannelOptions
from shared.kernel.clock import system_clock
from shared.kernel.config import load
from shared.kernel.hosting import connect

PROBE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class LogAccess:
    """Both sides of the log, and where it is, for a person."""

    intake: Intake
    feedback: Feedback
    place: str


@asynccontextmanager
async def open_log(address: str) -> AsyncIterator[LogAccess]:
    """Use the services at the address when something listens there, else open the data folder's own log.

    Raises:
        ConfigError: nothing listens, and the data folder's log cannot be opened.
    """
    if listens(address):
        async with connect(address, ChannelOptions(idempotent_methods=IDEMPOTENT_METHODS)) as channel:
            remote = GrpcFeedback(channel)
            yield LogAccess(remote, remote, address)
        return
    from services.feedback.app import open_feedback
    from services.feedback.settings import FeedbackSettings

    settings = load(FeedbackSettings)
    async with open_feedback(settings, system_clock) as app:
        yield LogAccess(app.intake, app.feedback, str(settings.data_dir))


def listens(address: str) -> bool:
    """Whether something takes connections there."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), PROBE_SECONDS):
            return True
    except (OSError, ValueError):
        return False
