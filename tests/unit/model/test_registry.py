"""The registry serves one bundle, swaps it atomically and can go back."""

from __future__ import annotations

import json
import resource
import uuid
from pathlib import Path

import pytest

from shared.kernel.config import ConfigError
from shared.model.bundle import MANIFEST, BundleError, open_bundle
from shared.model.registry import Registry, RegistryError
from tests.unit.model.bundles import failed_gate, write_toy_bundle

NOON_MS = 1_700_000_000_000


@pytest.fixture(params=["folder", "memory"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    url = str(tmp_path / "registry") if request.param == "folder" else f"memory://{uuid.uuid4().hex}"
    return Registry(url)


def published(registry: Registry, tmp_path: Path, created_ms: int) -> str:
    write_toy_bundle(tmp_path / f"made-{created_ms}", created_ms)
    return registry.publish(tmp_path / f"made-{created_ms}")


def test_an_empty_registry_serves_nothing(registry: Registry) -> None:
    assert registry.current() is None
    assert registry.list() == ()


def test_a_published_bundle_is_served_and_fetched_whole(registry: Registry, tmp_path: Path) -> None:
    version = published(registry, tmp_path, NOON_MS)

    fetched = open_bundle(registry.fetch(version, tmp_path / "cache"))

    assert registry.current() == version == fetched.manifest.version


def test_a_newer_bundle_takes_over_and_rollback_goes_back(registry: Registry, tmp_path: Path) -> None:
    old, new = (published(registry, tmp_path, NOON_MS + number) for number in (0, 1))

    assert registry.current() == new
    assert registry.rollback() == old
    assert registry.current() == old


def test_rollback_goes_to_a_named_bundle_also_forwards(registry: Registry, tmp_path: Path) -> None:
    first, _, third = (published(registry, tmp_path, NOON_MS + number) for number in range(3))

    registry.rollback(first)
    registry.rollback(third)

    assert registry.current() == third


def test_rollback_skips_the_sibling_that_evaluations_use(registry: Registry, tmp_path: Path) -> None:
    before = published(registry, tmp_path, NOON_MS)
    sibling = write_toy_bundle(tmp_path / "sibling", NOON_MS + 1).version
    registry.store(tmp_path / "sibling")
    write_toy_bundle(tmp_path / "served", NOON_MS + 2, evaluation_version=sibling)
    registry.publish(tmp_path / "served")

    assert registry.rollback() == before


def test_rollback_before_the_first_bundle_says_so(registry: Registry, tmp_path: Path) -> None:
    version = published(registry, tmp_path, NOON_MS)

    with pytest.raises(RegistryError, match=f"no bundle before {version}"):
        registry.rollback()


@pytest.mark.parametrize("version", ["20231114T221320000-00000000", "../../etc", "", "latest"])
def test_a_version_that_is_not_there_is_named(registry: Registry, tmp_path: Path, version: str) -> None:
    with pytest.raises(RegistryError, match="models list"):
        registry.fetch(version, tmp_path / "cache")


def test_a_bundle_that_failed_a_gate_is_not_published(registry: Registry, tmp_path: Path) -> None:
    write_toy_bundle(tmp_path / "bad", gates=(failed_gate(),))

    with pytest.raises(RegistryError, match=r"failed its gates \(index_recall\)"):
        registry.publish(tmp_path / "bad")

    assert registry.current() is None


def test_a_rejected_bundle_is_kept_aside_with_its_report_and_cannot_be_served(
    registry: Registry, tmp_path: Path
) -> None:
    write_toy_bundle(tmp_path / "bad", gates=(failed_gate(),))

    version = registry.reject(tmp_path / "bad", {"failed": ["index_recall"]})

    (kept,) = registry.list()
    assert (kept.version, kept.rejected, kept.current) == (version, True, False)
    with pytest.raises(RegistryError):
        registry.rollback(version)


def test_the_report_of_a_rejected_bundle_can_be_read(tmp_path: Path) -> None:
    write_toy_bundle(tmp_path / "bad", gates=(failed_gate(),))

    version = Registry(str(tmp_path / "registry")).reject(tmp_path / "bad", {"failed": ["index_recall"]})

    report = tmp_path / "registry" / "rejected" / version / "report.json"
    assert json.loads(report.read_text()) == {"failed": ["index_recall"]}


def test_the_list_tells_which_is_served_newest_first(registry: Registry, tmp_path: Path) -> None:
    old, new = (published(registry, tmp_path, NOON_MS + number) for number in (0, 1))

    registry.rollback(old)

    assert [(row.version, row.current) for row in registry.list()] == [(new, False), (old, True)]


def test_a_damaged_bundle_is_not_published(registry: Registry, tmp_path: Path) -> None:
    write_toy_bundle(tmp_path / "bad")
    (tmp_path / "bad" / "numbers.safetensors").write_bytes(b"short")

    with pytest.raises(BundleError, match=r"numbers.safetensors"):
        registry.publish(tmp_path / "bad")

    assert registry.current() is None


def test_damage_inside_the_registry_is_found_when_it_is_fetched(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    version = published(registry, tmp_path, NOON_MS)
    stored = tmp_path / "registry" / "bundles" / version / "numbers.safetensors"
    stored.write_bytes(stored.read_bytes()[:-1])

    with pytest.raises(BundleError, match=rf"bundle {version} .* is damaged: .*numbers.safetensors: truncated"):
        registry.fetch(version, tmp_path / "cache")

    assert not (tmp_path / "cache" / version).exists()


def test_a_damaged_copy_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    version = published(registry, tmp_path, NOON_MS)
    copy = registry.fetch(version, tmp_path / "cache")
    (copy / "numbers.safetensors").write_bytes(b"damaged")

    again = registry.fetch(version, tmp_path / "cache")

    assert open_bundle(again).manifest.version == version


def test_a_cache_without_room_is_not_taken_for_a_registry_that_cannot_be_read(
    registry: Registry, tmp_path: Path
) -> None:
    version = published(registry, tmp_path, NOON_MS)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))  # no file of this process may grow beyond that
    try:
        with pytest.raises(OSError, match="File too large"):
            registry.fetch(version, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list((tmp_path / "cache").iterdir()) == []
    assert open_bundle(registry.fetch(version, tmp_path / "cache")).manifest.version == version


def test_a_half_copied_bundle_does_not_exist(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    version = published(registry, tmp_path, NOON_MS)
    (tmp_path / "registry" / "bundles" / version / MANIFEST).unlink()  # the manifest is copied last

    with pytest.raises(RegistryError, match=f"has no bundle {version}"):
        registry.fetch(version, tmp_path / "cache")


def test_a_pointer_with_rubbish_in_it_is_named(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    published(registry, tmp_path, NOON_MS)
    (tmp_path / "registry" / "current").write_text("../../etc/passwd")

    with pytest.raises(RegistryError, match="which is no version"):
        registry.current()


def test_swapping_the_pointer_leaves_no_other_file_behind(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    for number in range(3):
        published(registry, tmp_path, NOON_MS + number)

    assert sorted(path.name for path in (tmp_path / "registry").iterdir()) == ["bundles", "current"]


def test_a_registry_that_cannot_be_written_says_which_and_why(tmp_path: Path) -> None:
    (tmp_path / "registry").write_text("a file where the folder should be")
    write_toy_bundle(tmp_path / "bundle")

    with pytest.raises(RegistryError, match="cannot write it"):
        Registry(str(tmp_path / "registry")).publish(tmp_path / "bundle")


def test_an_unknown_kind_of_url_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"nosuch://.*REGISTRY_URL to a folder"):
        Registry("nosuch://bucket/bundles")
