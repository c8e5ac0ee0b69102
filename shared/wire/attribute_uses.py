"""The catalogue's attributes and their types on the wire."""

from __future__ import annotations

from winnow.v1 import feature_service_pb2 as pb

from shared.domain.attributes import AttributeKind, AttributeUse


def attribute_use_to_proto(use: AttributeUse) -> pb.AttributeUse:
    """One attribute."""
    return pb.AttributeUse(
        name=use.name,
        text_items=use.items.get(AttributeKind.TEXT, 0),
        number_items=use.items.get(AttributeKind.NUMBER, 0),
        truth_items=use.items.get(AttributeKind.TRUTH, 0),
    )


def attribute_use_from_proto(message: pb.AttributeUse) -> AttributeUse:
    """One attribute; types that no item has are left out."""
    counts = {
        AttributeKind.TEXT: message.text_items,
        AttributeKind.NUMBER: message.number_items,
        AttributeKind.TRUTH: message.truth_items,
    }
    return AttributeUse(message.name, {kind: count for kind, count in counts.items() if count})
