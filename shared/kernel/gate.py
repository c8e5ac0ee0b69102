"""Decides before any work whether a caller may call: the policy first, then how often it has called."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.kernel.context import annotate
from shared.kernel.errors import ErrorReason, Reason, ServiceError
from shared.kernel.policy import HEALTH_PREFIX, Caller, Client, Policy, Rate
from shared.kernel.telemetry import REFUSED, LogField

REMEMBERED_CALLERS: Final = 10_000
"""Buckets that are kept. One that is forgotten comes back full, so this only matters to more callers than that."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class TokenBuckets:
    """One bucket a caller: it fills with the rate, a request takes one token.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str, rate: Rate) -> float:
        """Takes a token; gives the seconds until there is one, 0 when it was there."""
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(rate.burst_requests, now)
            if len(self._buckets) > REMEMBERED_CALLERS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        grown = bucket.tokens + (now - bucket.filled) * rate.requests_per_second
        bucket.tokens, bucket.filled = min(rate.burst_requests, grown), now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / rate.requests_per_second
        bucket.tokens -= 1
        return 0.0


class Gate:
    """Lets callers through, or says why not.

    Args:
        policy: Who may call what; None: everybody everything, as on a developer's machine.
        rate: How often callers may call for whom the policy says nothing; None: as often as they like.
        clock: Seconds that never go back.
    """

    def __init__(
        self, policy: Policy | None = None, rate: Rate | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy
        self._rate = rate
        self._buckets = TokenBuckets(clock)

    def admit(self, method: str, caller: Caller) -> str:
        """Lets a request through; gives the name under which the caller's use is counted.

        Raises:
            ServiceError: UNAUTHENTICATED, FORBIDDEN or OVERLOADED.
        """
        client = self._policy.client_of(caller) if self._policy else None
        name = client.name if client else next(iter(caller.identities), "")
        if name:
            annotate(**{LogField.CLIENT: name})
        if not method.startswith(HEALTH_PREFIX):
            if self._policy:
                _check(method, caller, client)
            self._count(name or caller.address, client)
        return name or caller.address

    def _count(self, name: str, client: Client | None) -> None:
        rate = client.rate if client and client.rate else self._rate
        if rate is None or not (wait_s := self._buckets.take(name, rate)):
            return
        limit = f"{rate.requests_per_second:g}"
        message = f"{limit} requests a second are allowed to this caller; call less often, or ask for a higher limit"
        raise _refused(ErrorReason.OVERLOADED, message, {"limit": limit, "caller": name}, math.ceil(wait_s * 1000))


def _check(method: str, caller: Caller, client: Client | None) -> None:
    if not caller.identities:
        raise _refused(ErrorReason.UNAUTHENTICATED, "the call needs a client certificate with a URI or DNS name", {})
    told = {"method": method, "caller": client.name if client else caller.identities[0]}
    if client is None:
        raise _refused(ErrorReason.FORBIDDEN, "no client of the policy has the identity of this certificate", told)
    if not client.may_call(method):
        raise _refused(ErrorReason.FORBIDDEN, f"{client.name} may not call {method}; the policy can allow it", told)


def _refused(reason: Reason, message: str, metadata: dict[str, str], retry_after_ms: int | None = None) -> ServiceError:
    REFUSED.labels(reason.name).inc()
    return ServiceError(reason, message, metadata=metadata, retry_after_ms=retry_after_ms)
