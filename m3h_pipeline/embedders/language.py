"""Notes into vectors, by any Hugging Face encoder of a local folder (ClinicalBERT in the publication).

A note of more tokens than the model takes is split at line breaks into pieces of at most 510 tokens; its
vector is the mean over the pieces, weighted by their tokens. The published code leaves out the last piece of
every note that it splits; here every token counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.embedders.store import files_digest
from m3h_pipeline.errors import InputError, absent

#: Tokens of a piece, beside the two that BERT puts around it.
PIECE = 510
_WANTED = (
    "put the model's files there: config.json, model.safetensors, and tokenizer.json or vocab.txt (with"
    " tokenizer_config.json), as in its repository on Hugging Face, for example"
    " emilyalsentzer/Bio_ClinicalBERT; nothing is downloaded while a study runs"
)


class LanguageEmbedder:
    """An :class:`~m3h_pipeline.embedders.store.Embedder` of texts.

    Args:
        folder: of the model.
        pooling: `pooler`, the model's own pooled output (published); `cls`, the first token; `mean`, over
            tokens.
        device: where it is computed.

    Raises:
        InputError: the folder lacks files, or the package `transformers` is not installed.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        pooling: Literal["pooler", "cls", "mean"] = "pooler",
        device: str = "cpu",
    ) -> None:
        folder = Path(folder)
        weights = [path for path in (folder / "model.safetensors",) if path.is_file()]
        vocabulary = [folder / n for n in ("tokenizer.json", "vocab.txt") if (folder / n).is_file()]
        config = folder / "config.json"
        lacking = [
            name
            for name, there in (
                ("config.json", config.is_file()),
                ("model.safetensors", bool(weights)),
                ("tokenizer.json or vocab.txt", bool(vocabulary)),
            )
            if not there
        ]
        if lacking:
            raise InputError(
                f"the language model lacks {', '.join(lacking)}", where=str(folder), hint=_WANTED
            )
        try:
            from transformers import AutoModel, AutoTokenizer
            from transformers.utils import logging
        except ImportError as error:
            raise absent("transformers", "embedding notes") from error
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the library has no hints
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model: Any = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                "the language model cannot be loaded (other files than its configuration says?)",
                where=str(folder),
                hint=_WANTED,
            ) from error
        self._model.eval().to(device)
        self._device = device
        self._pooling = pooling
        self._piece = min(PIECE, int(self._model.config.max_position_embeddings) - 2)
        self.width = int(self._model.config.hidden_size)
        self.digest = files_digest([*weights, *vocabulary, config], f"{pooling} {self._piece}")

    def content(self, item: str) -> bytes:
        """The text."""
        return item.encode("utf-8", "surrogatepass")

    def embed(self, items: Sequence[str]) -> Float32Array:
        """(n, width) vectors of texts."""
        pieces = [self.pieces(text) for text in items]
        flat = [piece for one in pieces for piece in one]
        vectors = self._run(flat, max(1, len(items)))
        out = np.empty((len(items), self.width), dtype=np.float32)
        start = 0
        for i, one in enumerate(pieces):
            weights = np.array([max(1, len(piece)) for piece in one], dtype=np.float64)
            out[i] = np.average(vectors[start : start + len(one)], axis=0, weights=weights)
            start += len(one)
        return out

    def pieces(self, text: str) -> list[list[int]]:
        """The tokens of a text, split at line breaks where it is too long, and within a line if need be."""
        lines = [self._tokens(line) for line in text.split("\n")]
        found: list[list[int]] = [[]]
        for line in lines:
            for start in range(0, max(1, len(line)), self._piece):
                part = line[start : start + self._piece]
                if len(found[-1]) + len(part) > self._piece:
                    found.append([])
                found[-1] += part
        return found

    def _tokens(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _run(self, pieces: list[list[int]], batch: int) -> Float32Array:
        """Vectors of pieces; equally long ones together, so that padding is little and changes nothing."""
        out = np.empty((len(pieces), self.width), dtype=np.float32)
        order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
        first, last = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        pad = self._tokenizer.pad_token_id or 0
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            length = max(len(pieces[i]) for i in chosen) + 2
            tokens = torch.full((len(chosen), length), pad)
            mask = torch.zeros((len(chosen), length), dtype=torch.long)
            for row, i in enumerate(chosen):
                whole = [first, *pieces[i], last]
                tokens[row, : len(whole)] = torch.tensor(whole)
                mask[row, : len(whole)] = 1
            with torch.inference_mode():
                result = self._model(input_ids=tokens.to(self._device), attention_mask=mask.to(self._device))
                hidden = result.last_hidden_state
                if self._pooling == "mean":
                    share = (
                        mask.to(self._device)[:, :, None] / mask.sum(dim=1).to(self._device)[:, None, None]
                    )
                    x = (hidden * share).sum(dim=1)
                else:
                    x = result.pooler_output if self._pooling == "pooler" else hidden[:, 0]
            out[chosen] = x.float().cpu().numpy()
        return out
