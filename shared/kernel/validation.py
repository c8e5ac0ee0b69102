"""Runs the validation rules that stand in the protos (`buf.validate`): nothing is checked twice, nothing by hand."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from protovalidate import FieldPathElementPb, Validator, Violation

from shared.kernel.errors import FieldViolation


def violations(message: Message, prefix: str = "") -> tuple[FieldViolation, ...]:
    """Every rule that the message breaks.

    Args:
        message: Any message of the contract.
        prefix: Path of the message in its request, e.g. `events[3]`, for answers by item.
    """
    found = _validator().collect_violations(message)
    return tuple(_field_violation(prefix, each) for each in found)


def warm(service_names: Iterable[str]) -> None:
    """Compiles the rules of every request of these services, so that the first caller does not wait for it.

    Raises:
        protovalidate.CompilationError: A rule of the contract itself is wrong.
    """
    pool = descriptor_pool.Default()
    for name in service_names:
        for method in pool.FindServiceByName(name).methods:
            _validator().collect_violations(message_factory.GetMessageClass(method.input_type)())


@cache
def _validator() -> Validator:
    return Validator()


def _field_violation(prefix: str, violation: Violation) -> FieldViolation:
    broken = violation.proto
    path = [_step(element) for element in broken.field.elements] if broken.field else []
    return FieldViolation(".".join(filter(None, [prefix, *path])), broken.message or broken.rule_id)


def _step(element: FieldPathElementPb) -> str:
    place = "" if element.subscript is None else f"[{element.subscript.value}]"
    return f"{element.field_name}{place}"
