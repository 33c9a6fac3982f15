"""The demo network: a very small `Sam3Model`, its tokenizer, and a forward pass for training.

The forward pass runs the model's own sub-modules in the order of `Sam3Model.forward`, with three differences
that the segmentation pipeline has too: several prompts share one image's features, the geometry encoder's
class token joins every prompt, and context tokens may follow the text tokens.
"""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTokenizer, Sam3Config, Sam3Model
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.sam3.modeling_sam3 import Sam3ViTLayer, inverse_sigmoid

IMAGE_SIZE = 192
PREVIEW_SIZE = 128
CONTEXT_LENGTH = 32


def make_config(vocabulary_size: int) -> Sam3Config:
    """Return the demo network's configuration (1.4 M parameters; image 192, patch 8, width 64)."""
    grid = IMAGE_SIZE // 8
    common = {"hidden_size": 64, "num_attention_heads": 4, "dropout": 0.0}
    return Sam3Config(
        vision_config={
            "model_type": "sam3_vision_model",
            "fpn_hidden_size": 64,
            "scale_factors": [2.0, 1.0, 0.5],
            "backbone_feature_sizes": [[grid * 2] * 2, [grid] * 2],
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 96,
                "intermediate_size": 256,
                "num_hidden_layers": 6,
                "num_attention_heads": 4,
                "image_size": IMAGE_SIZE,
                "patch_size": 8,
                "window_size": 8,
                "global_attn_indexes": [2, 5],
                "pretrain_image_size": 64,
            },
        },
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": vocabulary_size,
            "hidden_size": 64,
            "intermediate_size": 128,
            "projection_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": CONTEXT_LENGTH,
            "hidden_act": "gelu",
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 1,
        },
        geometry_encoder_config={"num_layers": 1, "intermediate_size": 192, "roi_size": 3, **common},
        detr_encoder_config={"num_layers": 2, "intermediate_size": 192, **common},
        detr_decoder_config={"num_layers": 3, "num_queries": 16, "intermediate_size": 192, **common},
        mask_decoder_config={"hidden_size": 64, "num_upsampling_stages": 1, "num_attention_heads": 4},
    )


def make_model(vocabulary_size: int) -> Sam3Model:
    """Initialise a network whose object queries are spread over the image."""
    model = Sam3Model(make_config(vocabulary_size))
    with torch.no_grad():
        count = model.config.detr_decoder_config.num_queries
        boxes = torch.rand(count, 4)
        boxes[:, 0] = torch.linspace(0.05, 0.95, count)[torch.randperm(count)]
        boxes[:, 1] = 0.3 + 0.4 * boxes[:, 1]
        boxes[:, 2:] = 0.1 + 0.4 * boxes[:, 2:]
        model.detr_decoder.reference_points.weight.copy_(torch.logit(boxes))
        model.detr_decoder.box_head.layer3.weight.mul_(0.1)
        model.detr_decoder.box_head.layer3.bias.zero_()
        model.mask_decoder.semantic_projection.bias.fill_(-1.5)
    return model


def save(model: Sam3Model, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a folder for `Sam3Model.from_pretrained`: float16 weights, tokenizer, image preprocessing."""
    folder.mkdir(parents=True, exist_ok=True)
    half = deepcopy(model).half()
    set_resolution(half, IMAGE_SIZE)
    half.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessing = {
        "image_processor_type": "Sam3ImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "mask_size": {"height": IMAGE_SIZE // 4, "width": IMAGE_SIZE // 4},
        "resample": 2,
        "rescale_factor": 1 / 255,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2) + "\n")


def set_resolution(model: Sam3Model, size: int) -> None:
    """Make the image encoder take ``size`` x ``size`` images: recompute the global layers' rotary positions."""
    backbone = model.vision_encoder.backbone
    config = deepcopy(backbone.config)
    config.image_size = size
    tokens = (size // config.patch_size) ** 2
    for layer in backbone.layers:
        if layer.window_size == 0 and layer.position_ids.shape[-2] != tokens:
            layer.position_ids = Sam3ViTLayer.precompute_positions(config, 0).to(layer.position_ids.device)


def tokenize(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each prompt, with start and end."""
    if not prompts:
        return []
    return tokenizer(list(prompts), truncation=True, max_length=CONTEXT_LENGTH).input_ids


def pad(ids: Sequence[Sequence[int]], fill: int = 1) -> tuple[Tensor, Tensor]:
    """Return token ids int64 [prompts, length] and their mask bool [prompts, length]."""
    length = max(map(len, ids))
    tokens = torch.full((len(ids), length), fill, dtype=torch.long)
    mask = torch.zeros(len(ids), length, dtype=torch.bool)
    for row, prompt in enumerate(ids):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
        mask[row, : len(prompt)] = True
    return tokens, mask


def text_features(model: Sam3Model, tokens: Tensor, mask: Tensor) -> Tensor:
    """Return projected text features float [prompts, length, 64]."""
    return model.get_text_features(input_ids=tokens, attention_mask=mask.long()).pooler_output


def pooled_embeddings(model: Sam3Model, tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the mean token embedding before the text transformer, float [prompts, 64]."""
    weight = mask[..., None].float()
    embedded = model.text_encoder.get_input_embeddings()(tokens)
    return (embedded * weight).sum(1) / weight.sum(1)


def context_tokens(
    model: Sam3Model, pooled: Tensor, hypernyms: Tensor, hypernym_mask: Tensor, neighbours: int = 2
) -> tuple[Tensor, Tensor]:
    """Return the context tokens of a vocabulary: weighted nearest other prompts, then hypernyms, projected.

    Args:
        model: the network.
        pooled: float [prompts, 64], from `pooled_embeddings`.
        hypernyms: float [prompts, 2, 64], pooled in the same way.
        hypernym_mask: bool [prompts, 2], true where there is one.
        neighbours: number of nearest prompts.

    Returns:
        float [prompts, neighbours + 2, 64] and its mask.
    """
    unit = F.normalize(pooled, dim=-1)
    similarity = (unit @ unit.T).fill_diagonal_(-torch.inf)
    value, index = similarity.topk(neighbours, dim=-1)
    near = value.softmax(-1)[..., None] * pooled[index]
    tokens = model.text_projection(torch.cat([near, hypernyms], 1))
    return tokens, torch.cat([torch.ones(near.shape[:2], dtype=torch.bool), hypernym_mask], 1)


@dataclass(frozen=True)
class ImageFeatures:
    """Output of the image encoder: feature pyramid, positions, geometry class token."""

    pyramid: list[Tensor]
    position: Tensor
    geometry: Tensor


def image_features(model: Sam3Model, pixels: Tensor) -> ImageFeatures:
    """Encode images float [images, 3, size, size] in -1..1; the geometry encoder gets no boxes."""
    vision = model.vision_encoder(pixels)
    pyramid, positions = list(vision.fpn_hidden_states[:-1]), list(vision.fpn_position_encoding[:-1])
    images = pixels.shape[0]
    geometry = model.geometry_encoder(
        box_embeddings=pixels.new_zeros(images, 0, 4),
        box_mask=torch.zeros(images, 0, dtype=torch.bool),
        box_labels=torch.zeros(images, 0, dtype=torch.long),
        img_feats=pyramid,
        img_pos_embeds=positions,
    )
    return ImageFeatures(pyramid, positions[-1], geometry.last_hidden_state)


@dataclass(frozen=True)
class Prediction:
    """Outputs of every decoder layer for n prompts and q object queries.

    ``boxes`` [layers, n, q, 4] (centre and size, 0..1), ``logits`` [layers, n, q], ``presence`` [layers, n]
    as logits. Masks are there for the m prompts in ``masked`` (int64 [m]) alone: ``semantic`` [m, h, w] as
    logits, ``masks`` [m, q, h, w] as logits of the last layer.
    """

    boxes: Tensor
    logits: Tensor
    presence: Tensor
    masked: Tensor
    semantic: Tensor
    masks: Tensor


def predict(
    model: Sam3Model,
    image: ImageFeatures,
    index: Tensor,
    text: Tensor,
    mask: Tensor,
    masked: Tensor | None = None,
) -> Prediction:
    """Run prompts through encoder, decoder and mask head.

    Args:
        model: the network.
        image: features of the images.
        index: int64 [n], the image of each prompt.
        text: float [n, tokens, 64].
        mask: bool [n, tokens].
        masked: int64 [m], the prompts to compute masks for; None for all. The mask head takes half of the
            time.
    """
    text = torch.cat([text, image.geometry[index]], 1)
    mask = torch.cat([mask, torch.ones(len(mask), image.geometry.shape[1], dtype=torch.bool)], 1)
    pyramid = [level[index] for level in image.pyramid]
    position = image.position[:1].expand(len(mask), -1, -1, -1)
    encoded = model.detr_encoder(
        vision_features=[pyramid[-1]], text_features=text, vision_pos_embeds=[position], text_mask=mask
    )
    decoded = model.detr_decoder(
        vision_features=encoded.last_hidden_state,
        text_features=text,
        vision_pos_encoding=encoded.pos_embeds_flattened,
        text_mask=mask,
        spatial_shapes=encoded.spatial_shapes,
    )
    offsets = model.detr_decoder.box_head(decoded.intermediate_hidden_states)
    boxes = (inverse_sigmoid(decoded.reference_boxes) + offsets).sigmoid()
    logits = model.dot_product_scoring(decoded.intermediate_hidden_states, text, mask).squeeze(-1)
    presence = decoded.presence_logits[..., 0]
    if masked is None:
        masked = torch.arange(len(mask))
    if not len(masked):
        empty = logits.new_zeros(0)
        return Prediction(boxes, logits, presence, masked, empty, empty)
    head = model.mask_decoder
    hidden, text, mask = encoded.last_hidden_state[masked], text[masked], mask[masked]
    normed = head.prompt_cross_attn_norm(hidden)
    attention_mask = create_bidirectional_mask(
        config=head.config, inputs_embeds=normed, encoder_hidden_states=text, attention_mask=mask
    )
    attended, _ = head.prompt_cross_attn(query=normed, key=text, value=text, attention_mask=attention_mask)
    pixels = head._embed_pixels(
        backbone_features=[level[masked] for level in pyramid], encoder_hidden_states=hidden + attended
    )
    semantic = head.semantic_projection(pixels)[:, 0]
    masks = torch.einsum(
        "nqc,nchw->nqhw",
        head.mask_embedder(decoded.intermediate_hidden_states[-1, masked]),
        head.instance_projection(pixels),
    )
    return Prediction(boxes, logits, presence, masked, semantic, masks)
