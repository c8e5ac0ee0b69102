"""The feedback service alone: `python -m services.feedback`."""

from services.feedback.app import open_feedback
from services.feedback.settings import FeedbackSettings
from shared.kernel.hosting import run_service

run_service("feedback", FeedbackSettings, open_feedback)
