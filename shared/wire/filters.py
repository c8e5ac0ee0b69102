"""Filters on the wire."""

from __future__ import annotations

from winnow.v1 import candidate_generation_service_pb2 as pb

from shared.domain.conditions import AttributeCondition, Comparison, ItemFilter
from shared.wire.items import attribute_from_proto, attribute_to_proto


def filter_to_proto(wanted: ItemFilter) -> pb.CandidateFilter:
    """A filter; sets in a fixed order, so that equal filters have equal bytes."""
    return pb.CandidateFilter(
        include_categories=sorted(wanted.include_categories),
        exclude_categories=sorted(wanted.exclude_categories),
        exclude_item_ids=sorted(wanted.exclude_item_ids),
        conditions=[
            pb.AttributeCondition(
                name=condition.name,
                comparison=int(condition.comparison),  # type: ignore[arg-type]  # codes are equal by definition
                operands=[attribute_to_proto(condition.name, operand) for operand in condition.operands],
            )
            for condition in wanted.conditions
        ],
    )


def filter_from_proto(message: pb.CandidateFilter) -> ItemFilter:
    """A filter; the contract's rules have been checked before."""
    return ItemFilter(
        include_categories=frozenset(message.include_categories),
        exclude_categories=frozenset(message.exclude_categories),
        exclude_item_ids=frozenset(message.exclude_item_ids),
        conditions=tuple(_condition_from_proto(condition) for condition in message.conditions),
    )


def _condition_from_proto(message: pb.AttributeCondition) -> AttributeCondition:
    operands = (attribute_from_proto(operand) for operand in message.operands)
    return AttributeCondition(
        message.name, Comparison(message.comparison), tuple(operand for operand in operands if operand is not None)
    )
