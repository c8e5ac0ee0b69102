"""A shop asks for a slate, tells of a click on it, and asks again: a complete client, to copy from.

usage: python shop.py USER

Needs `grpcio`, `protobuf` and the stubs (`shared/stubs` on the path). Addresses and certificates come from the
environment; without certificates it speaks plain text, as `winnow serve` on one machine does.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from pathlib import Path

import grpc
from winnow.v1 import (
    event_pb2,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
)

FRONT = os.environ.get("WINNOW_FRONT", "127.0.0.1:50051")
FEEDBACK = os.environ.get("WINNOW_FEEDBACK", "127.0.0.1:50051")
TLS = [os.environ.get(f"WINNOW_TLS_{name}_FILE") for name in ("AUTHORITY", "KEY", "CERTIFICATE")]
SLATE_S = float(os.environ.get("WINNOW_SLATE_SECONDS", "0.8"))
"""What a page can wait for; Winnow leaves out what does not fit into it, and says so."""
EVENTS_S = 10.0
CONNECT_S = 10.0
SERVICE_CONFIG = Path(__file__).parents[1] / "service_config.json"


def open_channel(address: str) -> grpc.Channel:
    """One channel for the life of the process: it balances over all replicas and repeats what may be repeated."""
    options = [("grpc.service_config", SERVICE_CONFIG.read_text(encoding="utf-8"))]
    if all(TLS):
        authority, key, certificate = (Path(str(file)).read_bytes() for file in TLS)
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(authority, key, certificate), options)
    else:
        channel = grpc.insecure_channel(address, options)
    grpc.channel_ready_future(channel).result(CONNECT_S)  # at the start, not in the first customer's time
    return channel


def main(user_id: str) -> None:
    """Ask, tell, ask again."""
    with open_channel(FRONT) as to_front, open_channel(FEEDBACK) as to_feedback:
        front = recommendation_service_pb2_grpc.RecommendationServiceStub(to_front)
        log = feedback_service_pb2_grpc.FeedbackServiceStub(to_feedback)
        request = recommendation_service_pb2.RecommendRequest(user_id=user_id, surface="shop")
        slate = front.Recommend(request, timeout=SLATE_S)
        if not slate.items:
            sys.exit("the slate is empty: is there a catalogue?")
        click = event_pb2.Event(
            event_id=str(uuid.uuid4()),  # made once, before the first attempt: a repeat is recognised by it
            user_id=user_id,
            item_id=slate.items[0].item_id,
            event_type=event_pb2.EVENT_TYPE_CLICK,
            recommendation_id=slate.recommendation_id,  # joins the click to the slate
        )
        recorded = log.RecordEvents(feedback_service_pb2.RecordEventsRequest(events=[click]), timeout=EVENTS_S)
        if recorded.statuses[0].code:
            sys.exit(f"the click was refused: {recorded.statuses[0].message}")
        # Served from state that includes the click, or told in `degraded` that it is not yet.
        request.min_watermark = recorded.watermark
        after = front.Recommend(request, timeout=SLATE_S)
    told = {
        "recommendationId": slate.recommendation_id,
        "slate": [item.item_id for item in slate.items],
        "after": [item.item_id for item in after.items],
        "degraded": [f"{lost.stage}: {lost.reason}" for lost in after.header.degraded],
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
