"""What transformers' own instance post-processing says of an image, and whether a result agrees."""

from types import SimpleNamespace

import numpy as np
import torch
from transformers.models.sam3.image_processing_sam3 import Sam3ImageProcessor


def reference(whole, segmenter, result, rgb):
    """Return transformers' scores, boxes and masks of each active prompt, which has its context tokens."""
    prompts = segmenter.prompts
    found = {}
    pixels = segmenter._full.prepare(rgb)
    for index in result.active_prompts:
        tokens = torch.cat([prompts.text[index], prompts.context.tokens[index]])[None]
        valid = torch.cat([prompts.text_valid[index], prompts.context.valid[index]])[None]
        with torch.inference_mode():
            output = whole(
                pixel_values=pixels,
                text_embeds=SimpleNamespace(pooler_output=tokens),
                attention_mask=valid,
                # One padded box: the class token of the image joins the prompt, as in SAM 3's own code.
                input_boxes=torch.full((1, 1, 4), 0.5),
                input_boxes_labels=torch.full((1, 1), -10),
            )
        (found[index],) = Sam3ImageProcessor().post_process_instance_segmentation(
            output, segmenter.settings.confidence_threshold, 0.5, [rgb.shape[:2]]
        )
    return found


def require_equal(result, expected):
    for index, theirs in expected.items():
        mine = [one for one in result.instances if one.prompt == index]
        shown = theirs["masks"].flatten(1).any(1)
        order = theirs["scores"][shown].argsort(descending=True)
        scores, boxes, masks = (theirs[key][shown][order].numpy() for key in ("scores", "boxes", "masks"))
        np.testing.assert_allclose([one.score for one in mine], scores, atol=1e-5)
        for one, box, mask in zip(mine, boxes, masks, strict=True):
            np.testing.assert_allclose(one.box, box, atol=0.01)
            # A logit that is 0 but for rounding may fall to either side.
            assert np.count_nonzero(one.mask != mask) <= 1 + 1e-4 * mask.size
    assert result.instances_without_pixels == sum(
        int((~one["masks"].flatten(1).any(1)).sum()) for one in expected.values()
    )
