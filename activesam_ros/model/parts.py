"""SAM 3 in parts, each of which loads its own weights only.

The text encoder is 353 M of SAM 3's 840 M parameters and is needed only when a new word is encoded. All read
plain (`sam3`) and video (`sam3_video`) checkpoints, as `Sam3Model` does.
"""

from __future__ import annotations

from torch import nn
from transformers import CLIPTextModelWithProjection, Sam3Config, Sam3Model
from transformers.models.sam3.modeling_sam3 import Sam3PreTrainedModel

# Keys of video checkpoints come with the prefix.
_TEXT = rf"^({Sam3Model.base_model_prefix}\.)?text_encoder\."
_NOT_TEXT = rf"^(?!({Sam3Model.base_model_prefix}\.)?(text_encoder|text_projection)\.)"
_NOT_PROJECTION = rf"^(?!({Sam3Model.base_model_prefix}\.)?text_projection\.)"


def _projection(config: Sam3Config) -> nn.Linear:
    return nn.Linear(config.text_config.hidden_size, config.detr_encoder_config.hidden_size)


class Sam3WithoutText(Sam3Model):
    """`Sam3Model` without its text encoder; the text projection stays."""

    _keys_to_ignore_on_load_unexpected = [*Sam3Model._keys_to_ignore_on_load_unexpected, _TEXT]

    def __init__(self, config: Sam3Config) -> None:
        # While loading, modules are made without memory: the one that is dropped here never had any.
        super().__init__(config)
        self.text_encoder = None


class Sam3TextSide(Sam3PreTrainedModel):
    """The text encoder of `Sam3Model` and the projection of its features."""

    config_class = Sam3Config
    base_model_prefix = Sam3Model.base_model_prefix
    _keys_to_ignore_on_load_unexpected = [_NOT_TEXT]

    def __init__(self, config: Sam3Config) -> None:
        super().__init__(config)
        self.text_encoder = CLIPTextModelWithProjection(config.text_config)
        self.text_projection = _projection(config)
        self.post_init()


class Sam3TextProjection(Sam3PreTrainedModel):
    """The projection of text features alone: what preparing prompts needs when every phrase is known."""

    config_class = Sam3Config
    base_model_prefix = Sam3Model.base_model_prefix
    _keys_to_ignore_on_load_unexpected = [_NOT_PROJECTION]

    def __init__(self, config: Sam3Config) -> None:
        super().__init__(config)
        self.text_projection = _projection(config)
        self.post_init()
