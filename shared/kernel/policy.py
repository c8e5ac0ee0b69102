"""Who may call which method: one file for the whole product, by the identities in the callers' certificates.

```yaml
clients:
  shop:
    identities: [spiffe://cluster.local/ns/shop/sa/backend, backend.shop.svc]
    methods: [winnow.v1.FeedbackService/RecordEvents, winnow.v1.CatalogService/*]
    requests_per_second: 500
```
What no client's `methods` names is denied. Health (`grpc.health.…`) is open to whoever has a certificate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from shared.kernel.config import ConfigError

HEALTH_PREFIX: Final = "grpc.health."
ANY_METHOD: Final = "*"

Identity = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([\w.:/-]*\w)?$", max_length=2048)]
MethodName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][\w.]*/([A-Za-z]\w*|\*)$")]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the transport knows.

    Attributes:
        identities: SPIFFE id (any URI) and DNS names of the verified certificate; none without a certificate.
        address: Host of the caller.
    """

    identities: tuple[str, ...] = ()
    address: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often somebody may call.

    Attributes:
        requests_per_second: Over a long time.
        burst_requests: At once.
    """

    requests_per_second: float
    burst_requests: float

    @classmethod
    def of(cls, requests_per_second: float, burst_requests: float | None = None) -> Self:
        """A rate; those of two seconds may come at once, one at least, where nothing else is said."""
        return cls(requests_per_second, burst_requests or max(1.0, 2 * requests_per_second))


@dataclass(frozen=True, slots=True)
class Client:
    """A caller that the policy knows.

    Attributes:
        name: In logs and metrics.
        methods: `package.Service/Method`, and `package.Service/*` for all of a service.
        rate: None: the server's own.
    """

    name: str
    methods: frozenset[str]
    rate: Rate | None = None

    def may_call(self, method: str) -> bool:
        """Whether the method is one of the client's."""
        return method in self.methods or f"{method.rpartition('/')[0]}/{ANY_METHOD}" in self.methods


@dataclass(frozen=True, slots=True)
class Policy:
    """The clients by each of their identities."""

    clients: Mapping[str, Client] = field(default_factory=dict)

    def client_of(self, caller: Caller) -> Client | None:
        """The first client that one of the caller's identities belongs to."""
        return next((self.clients[each] for each in caller.identities if each in self.clients), None)

    def methods(self) -> Iterable[str]:
        """Every method, or `Service/*`, that the policy names."""
        return frozenset().union(*(client.methods for client in self.clients.values()))


class _ClientEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    identities: tuple[Identity, ...] = Field(min_length=1)
    methods: tuple[MethodName, ...] = ()
    requests_per_second: float | None = Field(None, gt=0)
    burst_requests: float | None = Field(None, ge=1)

    def rate(self) -> Rate | None:
        """How often this client may call; None: as for everybody."""
        return None if self.requests_per_second is None else Rate.of(self.requests_per_second, self.burst_requests)

    @model_validator(mode="after")
    def _burst_has_a_rate(self) -> Self:
        if self.burst_requests is not None and self.requests_per_second is None:
            raise ValueError("burst_requests says nothing without requests_per_second; give both")
        return self


class _PolicyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    clients: dict[str, _ClientEntry]


def load_policy(path: Path) -> Policy:
    """Reads a policy.

    Raises:
        ConfigError: It cannot be read; each problem is named with its place in the file.
    """
    try:
        read = _PolicyFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"the policy {path} cannot be read: {error}; correct the file") from error
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise ConfigError(*(f"the policy {path}: {_place(each['loc'])}: {each['msg']}" for each in found)) from error
    clients: dict[str, Client] = {}
    for name, entry in read.clients.items():
        client = Client(name, frozenset(entry.methods), entry.rate())
        for identity in entry.identities:
            if identity in clients:
                raise ConfigError(
                    f"the policy {path}: {identity} stands under {clients[identity].name} and {name}; "
                    "give it to one of them"
                )
            clients[identity] = client
    return Policy(clients)


def _place(steps: tuple[int | str, ...]) -> str:
    return ".".join(map(str, steps)) or "the whole file"
