"""Page tokens of item lists: where the page ended, signed so that nobody else's token and no altered one is taken."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from shared.kernel.errors import ErrorReason, ServiceError

SIGNATURE_BYTES = 16


@dataclass(frozen=True, slots=True)
class PageTokens:
    """Makes and reads tokens for lists in the order of ids.

    Attributes:
        key: secret of the store; another store's tokens are foreign.
    """

    key: bytes

    def seal(self, last_id: str, category: str) -> str:
        """The token for the page behind `last_id` in the list of a category."""
        return urlsafe_b64encode(self._sign(last_id, category) + last_id.encode()).decode()

    def open(self, token: str, category: str) -> str:
        """The id behind which the page begins.

        Raises:
            ServiceError: PAGE_TOKEN_INVALID.
        """
        try:
            last_id = urlsafe_b64decode(token.encode("ascii"))[SIGNATURE_BYTES:].decode()
        except ValueError as error:  # not base64 or not UTF-8
            raise invalid_token() from error
        # Comparing whole tokens refuses also what base64 would read leniently.
        if not hmac.compare_digest(token, self.seal(last_id, category)):
            raise invalid_token()
        return last_id

    def _sign(self, last_id: str, category: str) -> bytes:
        message = f"{len(last_id)}:{last_id}{category}".encode()
        return hmac.digest(self.key, message, hashlib.sha256)[:SIGNATURE_BYTES]


def invalid_token() -> ServiceError:
    """The error of a token that is none."""
    return ServiceError(
        ErrorReason.PAGE_TOKEN_INVALID,
        "the page token was not made for this list, or was altered: start again without a token",
    )
