"""Which strings may be the id of a user or an item, one at a time and by the column."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

MAX_ID_BYTES = 128
REFUSED_CODE = -1


def id_problem(raw: bytes | None) -> str:
    """What makes these bytes unusable as an id; "" when nothing does."""
    if not raw:
        return "is empty"
    if len(raw) > MAX_ID_BYTES:
        return f"has {len(raw)} bytes, at most {MAX_ID_BYTES} are allowed ({raw[:24].decode(errors='replace')}…)"
    if b"\n" in raw or b"\r" in raw:
        return f"holds a line break ({raw!r})"
    try:
        raw.decode()
    except UnicodeDecodeError:
        return f"is not valid UTF-8 ({raw!r})"
    return ""


@dataclass(slots=True)
class IdEncoder:
    """Numbers ids in the order of their first appearance, over as many columns as are given to it.

    Attributes:
        names: the ids; the code of an id is its place here.
    """

    names: list[str] = field(default_factory=list)
    _codes: dict[bytes, int] = field(default_factory=dict)

    def encode(self, column: pa.Array) -> npt.NDArray[np.int32]:
        """(N,) codes of a column of binary ids, `REFUSED_CODE` where `id_problem` finds one."""
        encoded = column.dictionary_encode()
        raws = encoded.dictionary.to_pylist()
        known = map(self._codes.get, raws)
        codes = [self._new_code(raw) if code is None else code for raw, code in zip(raws, known, strict=True)]
        by_entry = np.array([*codes, REFUSED_CODE], dtype=np.int32)  # the last entry answers for nulls
        places: npt.NDArray[np.int64] = encoded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
        return by_entry[places]

    def _new_code(self, raw: bytes) -> int:
        if id_problem(raw):
            return REFUSED_CODE
        self._codes[raw] = len(self.names)
        self.names.append(raw.decode())
        return len(self.names) - 1
