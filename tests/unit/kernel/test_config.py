"""Settings: where they come from, and how wrong ones are told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr, ValidationError

from shared.kernel.config import COMMA_SEPARATED, JSON_TEXT, ConfigError, ServiceSettings, load
from shared.kernel.variables import env_example, unknown_variables


class LampSettings(ServiceSettings, prefix="LAMP"):
    """A lamp for these tests.

    More than one line.
    """

    colours: Annotated[tuple[str, ...], COMMA_SEPARATED] = Field(("red", "blue"), description="what it can show")
    dimmed: bool = Field(default=False, description="starts dimmed")
    fade_ms: int = Field(250, ge=0, description="time from one colour to the next")
    name: str = Field(description="what people call it")
    password: SecretStr | None = Field(None, min_length=4, description="who may switch it")
    weights: Annotated[dict[str, float], JSON_TEXT] = Field({"red": 1.5}, description="colour")


class SwitchSettings(ServiceSettings, prefix="SWITCH"):
    """A switch."""

    secret_token: SecretStr = Field(SecretStr("built-in"), description="what the lamp asks for")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a working directory of its own and a lamp with a name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WINNOW_LAMP_NAME", "hall")
    return tmp_path


def test_a_field_is_read_from_the_variable_of_its_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_LAMP_FADE_MS", "40")
    monkeypatch.setenv("WINNOW_LAMP_COLOURS", "green, white,")
    monkeypatch.setenv("WINNOW_LAMP_WEIGHTS", '{"green": 2}')

    settings = load(LampSettings)

    assert (settings.fade_ms, settings.colours, settings.weights) == (40, ("green", "white"), {"green": 2.0})


def test_all_services_share_one_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(LampSettings).data_dir == Path(".winnow")

    monkeypatch.setenv("WINNOW_DATA_DIR", "/data")

    assert load(LampSettings).data_dir == load(SwitchSettings).data_dir == Path("/data")


def test_an_override_wins_over_the_environment_which_wins_over_the_env_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("WINNOW_LAMP_FADE_MS=1\nWINNOW_LAMP_DIMMED=true\nWINNOW_LAMP_COLOURS=grey\n")
    monkeypatch.setenv("WINNOW_LAMP_FADE_MS", "2")
    monkeypatch.setenv("WINNOW_LAMP_COLOURS", "pink")

    settings = load(LampSettings, colours=("gold",), data_dir=Path("/other"))

    assert (settings.dimmed, settings.fade_ms, settings.colours) == (True, 2, ("gold",))
    assert settings.data_dir == Path("/other")


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_LAMP_FADE_MS", "")

    assert load(LampSettings).fade_ms == 250


def test_every_wrong_variable_is_named_with_its_value_and_what_was_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WINNOW_LAMP_NAME")
    monkeypatch.setenv("WINNOW_LAMP_FADE_MS", "-3")
    monkeypatch.setenv("WINNOW_LAMP_DIMMED", "perhaps")
    monkeypatch.setenv("WINNOW_LAMP_WEIGHTS", '{"red": "much"}')

    with pytest.raises(ConfigError) as raised:
        load(LampSettings)

    assert sorted(raised.value.problems) == [
        "WINNOW_LAMP_DIMMED='perhaps': Input should be a valid boolean, unable to interpret input (starts dimmed)",
        "WINNOW_LAMP_FADE_MS='-3': Input should be greater than or equal to 0 (time from one colour to the next)",
        "WINNOW_LAMP_NAME is not set (what people call it)",
        "WINNOW_LAMP_WEIGHTS[red]='much': Input should be a valid number, unable to parse string as a number (colour)",
    ]


def test_a_map_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_LAMP_WEIGHTS", "{red")

    with pytest.raises(ConfigError, match=r"^WINNOW_LAMP_WEIGHTS='\{red': Expecting property name"):
        load(LampSettings)


def test_a_wrong_secret_is_named_but_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_LAMP_PASSWORD", "abc")

    with pytest.raises(ConfigError, match=r"WINNOW_LAMP_PASSWORD=\(secret\): ") as raised:
        load(LampSettings)

    assert "abc" not in str(raised.value)


def test_a_setting_that_does_not_exist_cannot_be_overridden() -> None:
    with pytest.raises(ConfigError, match="LampSettings has no setting named fade_s"):
        load(LampSettings, fade_s=1)


def test_settings_cannot_be_changed_once_they_are_loaded() -> None:
    settings = load(LampSettings)

    with pytest.raises(ValidationError, match="frozen"):
        settings.fade_ms = 1


def test_a_secret_comes_from_the_file_that_its_variable_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "secret").write_text("open sesame\n")
    monkeypatch.setenv("WINNOW_LAMP_PASSWORD_FILE", str(folder / "secret"))

    settings = load(LampSettings)

    assert settings.password is not None
    assert settings.password.get_secret_value() == "open sesame"
    assert "sesame" not in repr(settings)


def test_a_secret_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_LAMP_PASSWORD_FILE", "/nowhere/secret")

    with pytest.raises(ConfigError, match=r"WINNOW_LAMP_PASSWORD_FILE='/nowhere/secret': .*No such file"):
        load(LampSettings)


def test_a_secret_given_twice_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "secret").write_text("open sesame")
    monkeypatch.setenv("WINNOW_LAMP_PASSWORD_FILE", str(folder / "secret"))
    monkeypatch.setenv("WINNOW_LAMP_PASSWORD", "other")

    with pytest.raises(ConfigError, match="WINNOW_LAMP_PASSWORD and WINNOW_LAMP_PASSWORD_FILE are both set"):
        load(LampSettings)


def test_a_mistyped_variable_is_told_with_the_one_that_was_meant() -> None:
    environ = {
        "WINNOW_LAMP_FADE_MSS": "1",
        "WINNOW_LAMP_PASWORD_FILE": "/x",
        "WINNOW_LAMP_FADE_MS": "1",
        "WINNOW_SOMETHING_ELSE_ENTIRELY": "1",
        "LAMP_FADE_MS": "1",
    }

    assert unknown_variables([LampSettings, SwitchSettings], environ) == {
        "WINNOW_LAMP_FADE_MSS": "WINNOW_LAMP_FADE_MS",
        "WINNOW_LAMP_PASWORD_FILE": "WINNOW_LAMP_PASSWORD_FILE",
    }


def test_the_example_lists_every_variable_once_commented_out_with_default_and_meaning() -> None:
    text = env_example([LampSettings, SwitchSettings])

    head, lamp, switch = text.split("\n# --- ")
    assert head.startswith("# Every setting with its default.")
    assert lamp == (
        "A lamp for these tests.\n"
        "# folder that holds everything that is kept\n# WINNOW_DATA_DIR=.winnow\n"
        "# what it can show\n# WINNOW_LAMP_COLOURS=red,blue\n"
        "# starts dimmed\n# WINNOW_LAMP_DIMMED=false\n"
        "# time from one colour to the next\n# WINNOW_LAMP_FADE_MS=250\n"
        "# what people call it (required)\n# WINNOW_LAMP_NAME=\n"
        "# who may switch it\n# WINNOW_LAMP_PASSWORD=\n"
        '# colour\n# WINNOW_LAMP_WEIGHTS={"red": 1.5}\n'
    )
    assert switch == "A switch.\n# what the lamp asks for\n# WINNOW_SWITCH_SECRET_TOKEN=\n"


def test_the_example_uncommented_loads_as_the_defaults(folder: Path) -> None:
    lines = [line.removeprefix("# ") for line in env_example([LampSettings]).splitlines() if "# WINNOW_" in line]
    defaults = load(LampSettings)

    (folder / ".env").write_text("\n".join(lines))

    assert load(LampSettings) == defaults
