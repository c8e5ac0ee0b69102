"""A bundle proves its own integrity; whatever is wrong with it is named."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.model.bundle import ITEMS, MANIFEST, BundleError, open_bundle, write_arrays, write_bundle, write_strings
from shared.model.manifest import Manifest
from tests.unit.model.bundles import ITEM_IDS, facts, write_toy_bundle

ARRAYS = "numbers.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_toy_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def rewritten_manifest(folder: Path, change: dict[str, Any]) -> None:
    """Change a manifest and give it a valid checksum again, as somebody with bad intentions would."""
    content = json.loads((folder / MANIFEST).read_text()) | change
    manifest = Manifest.model_validate(content | {"checksum": ""})
    sealed = manifest.model_copy(update={"checksum": manifest.computed_checksum()})
    (folder / MANIFEST).write_text(sealed.model_dump_json())


def test_what_was_written_is_read_back(folder: Path) -> None:
    bundle = open_bundle(folder)

    assert bundle.vocabulary.ids == ITEM_IDS
    assert np.array_equal(bundle.arrays(ARRAYS)["numbers"], np.arange(64))
    assert bundle.manifest.metrics == {"two_stage_ndcg@10": 0.1}


def test_the_version_follows_time_and_content(tmp_path: Path) -> None:
    first = write_toy_bundle(tmp_path / "a", created_ms=1_700_000_000_000)
    again = write_toy_bundle(tmp_path / "b", created_ms=1_700_000_000_000)
    later = write_toy_bundle(tmp_path / "c", created_ms=1_700_000_000_001)

    assert first.version == again.version
    assert first.version < later.version


@pytest.mark.parametrize("name", [ARRAYS, ITEMS])
def test_a_truncated_file_is_refused_by_name(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-3])

    with pytest.raises(BundleError, match=rf"{name}: truncated or extended, \d+ bytes instead of {len(content)}"):
        open_bundle(folder)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_flipped_bit_is_refused_by_name(folder: Path, place: int) -> None:
    content = bytearray((folder / ARRAYS).read_bytes())
    content[place] ^= 1
    (folder / ARRAYS).write_bytes(bytes(content))

    with pytest.raises(BundleError, match=f"{ARRAYS}: altered, its sha256 differs"):
        open_bundle(folder)


def test_a_missing_file_is_refused_by_name(folder: Path) -> None:
    (folder / ARRAYS).unlink()

    with pytest.raises(BundleError, match=f"{ARRAYS}: missing"):
        open_bundle(folder)


def test_a_folder_without_a_manifest_is_no_bundle(folder: Path) -> None:
    (folder / MANIFEST).unlink()

    with pytest.raises(BundleError, match="holds no complete bundle"):
        open_bundle(folder)


def test_a_manifest_of_another_schema_is_refused(folder: Path) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(content | {"schema_version": 99}))

    with pytest.raises(BundleError, match="schema version 99, this release reads 2"):
        open_bundle(folder)


def test_a_changed_number_in_the_manifest_is_noticed(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"search_k": 100', '"search_k": 1'))

    with pytest.raises(BundleError, match="does not match its checksum"):
        open_bundle(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 1}', "\x00\x01"])
def test_a_manifest_that_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)

    with pytest.raises(BundleError, match=MANIFEST):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd.jsonl", "a/b.safetensors", ".hidden.jsonl"])
def test_a_file_name_cannot_lead_out_of_the_folder(folder: Path, name: str) -> None:
    files = [{"name": name, "size_bytes": 1, "sha256": "0" * 64}]
    rewritten_manifest(folder, {"files": files})

    with pytest.raises(BundleError, match="is not a plain lower-case name"):
        open_bundle(folder)


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.safetensors"
    (folder / ARRAYS).rename(outside)
    (folder / ARRAYS).symlink_to(outside)

    with pytest.raises(BundleError, match="not a plain file"):
        open_bundle(folder)


def test_a_file_that_the_manifest_does_not_list_is_refused(folder: Path) -> None:
    (folder / "extra.jsonl").write_text("{}")

    with pytest.raises(BundleError, match=r"extra.jsonl: not listed in the manifest"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["weights.pkl", "weights.pt", "weights.bin"])
def test_a_file_of_another_kind_does_not_get_into_a_bundle(folder: Path, name: str) -> None:
    (folder / name).write_bytes(pickle.dumps({"a": 1}))

    with pytest.raises(BundleError, match="no pickle or archive"):
        write_bundle(folder, facts())


@pytest.mark.parametrize("content", [pickle.dumps({"a": 1}), b"PK\x03\x04archive"])
def test_a_pickle_under_a_harmless_name_is_refused(folder: Path, content: bytes) -> None:
    (folder / ARRAYS).write_bytes(content)
    write_bundle(folder, facts())

    with pytest.raises(BundleError, match="holds a pickle or an archive"):
        open_bundle(folder)


def test_an_item_that_occurs_twice_is_refused(folder: Path) -> None:
    write_strings(folder / ITEMS, ("a", "a"))
    write_bundle(folder, facts())

    with pytest.raises(BundleError, match=f"{ITEMS}: 1 ids occur more than once"):
        open_bundle(folder)


def test_a_bundle_without_a_vocabulary_cannot_be_sealed(tmp_path: Path) -> None:
    write_arrays(tmp_path / ARRAYS, {"numbers": np.zeros(1)})

    with pytest.raises(BundleError, match=f"{ITEMS}: missing"):
        write_bundle(tmp_path, facts())


def test_a_file_that_is_not_part_of_a_bundle_is_not_handed_out(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"other.safetensors: not part of this bundle"):
        open_bundle(folder).file("other.safetensors")


def test_a_metric_that_is_no_number_survives_the_manifest(tmp_path: Path) -> None:
    write_toy_bundle(tmp_path / "bundle", metrics={"x": float("nan")})

    assert np.isnan(open_bundle(tmp_path / "bundle").manifest.metrics["x"])
