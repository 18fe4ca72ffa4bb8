"""The text encoder against sentence-transformers, and its bad folders."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.contract.settings import EncoderSettings
from model.text.encoder import EncoderError, TextEncoder, default_folder, encoder_name

TEXTS = [
    "Toy Story (1995). Animation",
    "",
    "千と千尋の神隠し",
    "a " * 2_000,
    "Heat",
    "Heat",
    "\ud83d half an emoji",
    *(f"film number {n} " * (n % 17) for n in range(90)),
]


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder.load(EncoderSettings())


def test_vectors_are_those_of_sentence_transformers(encoder):
    from sentence_transformers import SentenceTransformer

    plain = [text for text in TEXTS if "\ud83d" not in text]
    reference = SentenceTransformer(str(default_folder()), device="cpu").encode(
        plain, normalize_embeddings=True
    )
    cosines = (reference * encoder.encode(plain)).sum(1)
    assert cosines.mean() >= 0.999 and cosines.min() >= 0.998
    exact = TextEncoder.load(EncoderSettings(dtype="float32")).encode(plain)
    assert np.abs(exact - reference).max() < 1e-4


def test_rows_are_unit_vectors_in_the_order_of_the_texts(encoder):
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dim) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    assert np.array_equal(vectors[4], vectors[5])
    alone = encoder.encode([TEXTS[0]])[0]
    assert float(alone @ vectors[0]) > 0.999
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_the_name_tells_models_and_number_types_apart(encoder):
    assert encoder.name == encoder_name(EncoderSettings())
    assert encoder.name != encoder_name(EncoderSettings(dtype="float32"))


def test_a_folder_that_is_no_encoder_is_named(tmp_path):
    with pytest.raises(EncoderError, match="does not exist"):
        encoder_name(EncoderSettings(model=tmp_path / "missing"))
    with pytest.raises(EncoderError, match=r"no config\.json"):
        TextEncoder.load(EncoderSettings(model=tmp_path))
    (tmp_path / "config.json").write_text((default_folder() / "config.json").read_text())
    with pytest.raises(EncoderError, match="cannot be loaded"):
        TextEncoder.load(EncoderSettings(model=tmp_path))
