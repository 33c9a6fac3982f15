"""Toy Town: a cartoon street world and the small demo model that segments it by words."""

from pathlib import Path


def model_folder() -> Path:
    """Folder of the demo model that ships with the package (config, weights, tokenizer, model card)."""
    return Path(__file__).resolve().parent / "model"
