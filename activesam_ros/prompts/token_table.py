"""What a model knows of words before it reads them: its tokenizer and its table of token embeddings.

Enough to count tokens and to find neighbours, without the networks: a second instead of a minute for SAM 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from activesam_ros.errors import ModelError
from activesam_ros.model.checkpoint import open_text_checkpoint
from activesam_ros.prompts.encoder import mean_of_real

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch

# In video checkpoints the key comes with a prefix.
_TOKENS = "text_encoder.text_model.embeddings.token_embedding.weight"


class TokenTable:
    """Token counts and pooled embeddings of phrases.

    Attributes:
        context_length: most tokens of a prompt that the model reads, start and end included.
    """

    def __init__(self, tokenizer: Callable, embeddings: torch.Tensor, context_length: int) -> None:
        """Args:
        tokenizer: the model's tokenizer.
        embeddings: float [V, E], one row per token.
        context_length: see the attribute.
        """
        self._tokenizer = tokenizer
        self._embeddings = embeddings
        self.context_length = context_length

    @classmethod
    def load(cls, model: str | Path) -> TokenTable:
        """Reads the table of a SAM 3 checkpoint.

        Args:
            model: a folder, a hub id, or the name of a bundled model, as for `load_checkpoint`.

        Raises:
            ModelError: the model cannot be found or read.
        """
        text = open_text_checkpoint(model)
        return cls(text.tokenizer, _read(text.folder, _TOKENS), text.context_length)  # type: ignore[arg-type]

    def counts(self, phrases: Sequence[str]) -> list[int]:
        """Number of tokens of each phrase, start and end included, uncut."""
        if not phrases:
            return []
        # Without `verbose=False` transformers would warn of phrases that are too long, which are only counted.
        return [len(ids) for ids in self._tokenizer(list(phrases), verbose=False)["input_ids"]]

    def pooled(self, phrases: Sequence[str]) -> torch.Tensor:
        """Mean of the token embeddings of each phrase, float32 [N, E]: what neighbours are found by."""
        batch = self._tokenizer(
            list(phrases), padding=True, truncation=True, max_length=self.context_length, return_tensors="pt"
        )
        return mean_of_real(self._embeddings[batch["input_ids"]].float(), batch["attention_mask"].bool())


def _read(folder: Path, name: str) -> torch.Tensor:
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118
                    if key == name or key.endswith(f".{name}"):
                        return tensors.get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path} cannot be read ({error}); download or copy the folder again") from error
    raise ModelError(
        f"the model in {folder} has no tensor {name!r}; expected SAM 3 weights (*.safetensors) as saved by "
        "transformers"
    )
