"""Page tokens: where the next page of a slate begins, signed, so that nobody can forge or borrow one.

A token is base64url(issued | place | position | binding | id | HMAC-SHA256 of all of it). The binding is a hash of whom
the slate is for and of what was asked, so a token of another caller or of another request does not fit.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass

from services.recommendation.queries import Query
from shared.domain.conditions import ItemFilter
from shared.kernel.clock import Clock
from shared.kernel.errors import ErrorReason, ServiceError

_HEAD = struct.Struct(">QII8s")  # issued_ms, place, position, binding
_SIGNATURE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins.

    Attributes:
        row_place: place in the slate's full order of the first candidate that no page has looked at.
        position: position of the page's first entry; smaller where earlier pages skipped candidates.
    """

    recommendation_id: str
    row_place: int
    position: int


class PageTokens:
    """Makes and reads tokens.

    Args:
        secret: any bytes; every process that shall read the token needs the same.
        life_ms: how long a token may be used.
    """

    def __init__(self, secret: bytes, clock: Clock, life_ms: int) -> None:
        self._secret = secret
        self._clock = clock
        self._life_ms = life_ms

    def issue(self, place: Place, query: Query) -> str:
        """A token for the page that begins there."""
        head = _HEAD.pack(self._clock(), place.row_place, place.position, _binding(query))
        body = head + place.recommendation_id.encode()
        return base64.urlsafe_b64encode(body + self._signature(body)).decode().rstrip("=")

    def read(self, query: Query) -> Place:
        """The place that the query's token names.

        Raises:
            ServiceError: PAGE_TOKEN_INVALID when it was not made here, for this caller and request;
                PAGE_TOKEN_EXPIRED when it is too old.
        """
        body = self._body(query.page_token)
        issued_ms, row_place, position, binding = _HEAD.unpack_from(body)
        if not hmac.compare_digest(binding, _binding(query)):
            raise _invalid("it belongs to another user, session, surface, filter or candidate list")
        age_ms = self._clock() - issued_ms
        if age_ms > self._life_ms:
            raise expired(age_ms, self._life_ms)
        return Place(body[_HEAD.size :].decode(), row_place, position)

    def age_ms(self, query: Query) -> int:
        """How long ago a valid token was made."""
        issued_ms: int = _HEAD.unpack_from(self._body(query.page_token))[0]
        return self._clock() - issued_ms

    def gone(self, query: Query) -> ServiceError:
        """The error for a valid token whose slate cannot be found any more."""
        return expired(self.age_ms(query), self._life_ms, "its slate is gone")

    def _body(self, token: str) -> bytes:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _invalid("it is not base64url") from None
        body, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
        if len(body) <= _HEAD.size or not hmac.compare_digest(signature, self._signature(body)):
            raise _invalid("it was altered, or made by another server")
        return body

    def _signature(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, "sha256")[:_SIGNATURE_BYTES]


def expired(age_ms: int, life_ms: int, why: str = "it is too old") -> ServiceError:
    """The error for a token that was good once."""
    age_s, limit_s = age_ms // 1000, life_ms // 1000
    return ServiceError(
        ErrorReason.PAGE_TOKEN_EXPIRED,
        f"page_token cannot be used any more: {why} ({age_s} s; the limit is {limit_s} s); start again without a token",
        metadata={"ageSeconds": str(age_s), "limitSeconds": str(limit_s)},
    )


def _invalid(why: str) -> ServiceError:
    return ServiceError(
        ErrorReason.PAGE_TOKEN_INVALID, f"page_token is not valid: {why}; start again without a token", metadata={}
    )


def _binding(query: Query) -> bytes:
    """Whom and what a slate is for: everything that must stay the same from page to page."""
    asked = (query.user_id, query.session_id, query.surface, _canonical(query.filter), query.candidate_item_ids)
    return hashlib.sha256(repr(asked).encode()).digest()[:8]


def _canonical(wanted: ItemFilter) -> tuple[object, ...]:
    sets = (wanted.include_categories, wanted.exclude_categories, wanted.exclude_item_ids)
    conditions = tuple((each.name, int(each.comparison), each.operands) for each in wanted.conditions)
    return (*(tuple(sorted(each)) for each in sets), conditions)
