"""User states, catalogue changes and projection status on the wire."""

from __future__ import annotations

from winnow.v1 import feature_service_pb2 as pb
from winnow.v1 import log_pb2

from shared.domain.freshness import UserFreshness
from shared.domain.log_replay import LogReplay
from shared.domain.user_state import ItemChanges, ProjectionStatus, UserState
from shared.wire.events import history_events_to_proto, history_from_event_protos
from shared.wire.items import feature_status, item_state_from_proto, item_state_to_proto, user_from_proto, user_to_proto
from shared.wire.times import time_from_proto, time_to_proto


def user_state_to_proto(state: UserState) -> pb.UserState:
    """One user's state; sets in a fixed order."""
    freshness = state.freshness
    return pb.UserState(
        user_id=state.user_id,
        history=history_events_to_proto(state.history),
        consumed_item_ids=sorted(state.consumed_item_ids),
        hidden_item_ids=sorted(state.hidden_item_ids),
        served_item_ids=state.served_item_ids,
        followed_ids=state.followed_ids,
        profile=None if state.profile is None else user_to_proto(state.profile),
        event_counts=[
            pb.EventCount(event_type=kind, count=count)  # type: ignore[arg-type]  # an open enum
            for kind, count in sorted(state.event_counts.items())
        ],
        watermark=state.watermark,
        stale=state.stale,
        category_affinities=[
            pb.CategoryAffinity(category=category, share=share)
            for category, share in sorted(state.category_affinities.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
        freshness=pb.UserFreshness(
            history=int(freshness.history),  # type: ignore[arg-type]  # codes are equal by definition
            profile=int(freshness.profile),  # type: ignore[arg-type]
            category_affinities=int(freshness.category_affinities),  # type: ignore[arg-type]
        ),
        blocked_ids=sorted(state.blocked_ids),
    )


def user_state_from_proto(message: pb.UserState) -> UserState:
    """One user's state."""
    return UserState(
        user_id=message.user_id,
        history=history_from_event_protos(message.history),
        consumed_item_ids=frozenset(message.consumed_item_ids),
        hidden_item_ids=frozenset(message.hidden_item_ids),
        served_item_ids=tuple(message.served_item_ids),
        followed_ids=tuple(message.followed_ids),
        profile=user_from_proto(message.profile) if message.HasField("profile") else None,
        event_counts={int(count.event_type): count.count for count in message.event_counts},
        category_affinities={affinity.category: affinity.share for affinity in message.category_affinities},
        watermark=message.watermark,
        stale=message.stale,
        freshness=UserFreshness(
            feature_status(message.freshness.history),
            feature_status(message.freshness.profile),
            feature_status(message.freshness.category_affinities),
        ),
        blocked_ids=frozenset(message.blocked_ids),
    )


def item_changes_to_proto(changes: ItemChanges) -> pb.WatchItemsResponse:
    """A run of catalogue changes, vectors included."""
    return pb.WatchItemsResponse(
        upserted=[item_state_to_proto(state, vectors=True) for state in changes.upserted],
        deleted_item_ids=changes.deleted_item_ids,
        watermark=changes.watermark,
        caught_up=changes.caught_up,
    )


def item_changes_from_proto(message: pb.WatchItemsResponse) -> ItemChanges:
    """A run of catalogue changes."""
    return ItemChanges(
        tuple(item_state_from_proto(state) for state in message.upserted),
        tuple(message.deleted_item_ids),
        message.watermark,
        message.caught_up,
    )


def status_to_proto(status: ProjectionStatus) -> pb.FeatureServiceGetStatusResponse:
    """How far the projection is."""
    return pb.FeatureServiceGetStatusResponse(
        watermark=status.watermark,
        head_watermark=status.head_watermark,
        caught_up=status.caught_up,
        users=status.users,
        items=status.items,
        applied_records=status.applied_records,
        applied_time=time_to_proto(status.applied_ms),
        replay=None if status.replay is None else replay_to_proto(status.replay),
        problems=status.problems,
    )


def status_from_proto(message: pb.FeatureServiceGetStatusResponse) -> ProjectionStatus:
    """How far the projection is."""
    return ProjectionStatus(
        watermark=message.watermark,
        head_watermark=message.head_watermark,
        caught_up=message.caught_up,
        users=message.users,
        items=message.items,
        applied_records=message.applied_records,
        applied_ms=time_from_proto(message.applied_time),
        replay=_replay_from_proto(message.replay) if message.HasField("replay") else None,
        problems=tuple(message.problems),
    )


def replay_to_proto(replay: LogReplay) -> log_pb2.LogReplay:
    """How far a replay is."""
    message = log_pb2.LogReplay(
        done_records=replay.done, total_records=replay.total, records_per_second=replay.per_second
    )
    if replay.left_ms is not None:
        message.remaining_duration.FromMilliseconds(replay.left_ms)
    return message


def _replay_from_proto(message: log_pb2.LogReplay) -> LogReplay:
    return LogReplay(message.done_records, message.total_records, message.records_per_second)
