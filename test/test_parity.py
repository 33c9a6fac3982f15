"""The published method's numbers, reproduced from its golden data."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from transformers import Sam3Model
from transformers_instances import reference, require_equal

from activesam_ros.model.checkpoint import load_checkpoint
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings
from activesam_ros.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def parity_checkpoint(parity_folder):
    return load_checkpoint(parity_folder / "model", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def hypernyms(parity_folder):
    return TableHypernyms(json.loads((parity_folder / "hypernyms.json").read_text()))


def cases(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.glob("case_*")))


class Case:
    """One golden case and what this library says of it."""

    def __init__(self, folder: Path, checkpoint, hypernyms) -> None:
        given = json.loads((folder / "settings.json").read_text())
        names = [line for line in (folder / "vocab.txt").read_text().splitlines() if line.strip()]
        self.expected = json.loads((folder / "expected.json").read_text())
        self.arrays = np.load(folder / "expected.npz")
        self.expected_labels = cv2.imread(str(folder / "labels.png"), cv2.IMREAD_UNCHANGED)
        self.segmenter = ActiveSegmenter(
            checkpoint,
            SegmenterSettings(
                full_resolution=given["full_resolution"],
                preview_resolution=given["preview_resolution"],
                keep_fraction=given["quantile_alpha"],
                max_active=given["pruner_max_active"],
                bucket_size=given["bucket_size"],
                confidence_threshold=given["confidence_threshold"],
                background_threshold=given["prob_thd"],
                margin_exponent=given["mabc_exponent"],
                neighbor_tokens=given["neighbor_tokens"],
                hypernym_tokens=given["hypernym_tokens"],
            ),
            hypernyms,
        )
        background = names[given["bg_idx"]] if given["prob_thd"] > 0 else None
        self.segmenter.set_vocabulary(Vocabulary.from_names(names, background=background))
        self.image = cv2.cvtColor(cv2.imread(str(folder / "input.png")), cv2.COLOR_BGR2RGB)
        self.result = self.segmenter.segment(self.image)


@pytest.fixture(scope="module")
def computed(parity_folder, parity_checkpoint, hypernyms):
    found = {folder.name: Case(folder, parity_checkpoint, hypernyms) for folder in cases(parity_folder)}
    assert found, f"no case_* in {parity_folder}"
    return found


def test_queries_and_canonical_names(computed):
    for name, case in computed.items():
        prompts = case.segmenter.prompts
        assert list(prompts.canonical) == case.expected["canonical_names"], name
        assert list(prompts.vocabulary.prompt_classes) == case.expected["query_class"], name


def test_context_tokens(computed):
    for name, case in computed.items():
        context = case.segmenter.prompts.context
        valid = torch.from_numpy(case.arrays["memory_valid"])
        assert torch.equal(context.valid, valid), name
        golden = torch.from_numpy(case.arrays["memory_tokens"])
        torch.testing.assert_close(context.tokens[valid], golden[valid], atol=1e-5, rtol=0)


def test_presence_and_active_sets(computed):
    for name, case in computed.items():
        result = case.result
        assert list(result.active_prompts) == case.expected["active"], name
        if case.expected["preview_ran"]:
            np.testing.assert_allclose(
                result.preview_presence, case.arrays["preview_presence"], atol=1e-4, rtol=0
            )
        else:
            assert result.preview_presence is None
        owner = case.segmenter.vocabulary.prompt_classes
        golden: dict[int, float] = {}
        for query, presence in zip(result.active_prompts, case.arrays["presence_active"], strict=True):
            golden[owner[query]] = max(golden.get(owner[query], 0.0), float(presence))
        assert {
            entry.class_id: pytest.approx(entry.presence, abs=1e-4) for entry in result.active
        } == golden, name


def test_instance_masks_that_are_kept(computed):
    for name, case in computed.items():
        assert list(case.result.instance_counts) == case.expected["kept_masks_active"], name


def test_instances_are_those_of_transformers(computed, parity_folder):
    whole = Sam3Model.from_pretrained(parity_folder / "model", dtype=torch.float32).eval()
    for case in computed.values():
        expected = reference(whole, case.segmenter, case.result, case.image)
        assert any(len(one["scores"]) for one in expected.values())
        require_equal(case.result, expected)


def test_confidence_is_the_best_fused_score(computed):
    for name, case in computed.items():
        best = case.arrays["seg_logits_active"].astype(np.float32).max(axis=0)
        kept = case.result.confidence > 0
        if case.segmenter.settings.background_threshold == 0:
            assert kept.all(), name
        else:
            background = case.expected_labels == case.segmenter.vocabulary.background_id
            assert np.mean(kept[~background]) > 0.999 and not kept.all(), name
        np.testing.assert_allclose(case.result.confidence[kept], best[kept], atol=5e-4, rtol=0)


def test_labels(computed):
    for name, case in computed.items():
        agreement = float(np.mean(case.result.labels == case.expected_labels))
        assert agreement >= 0.999, f"{name}: {agreement:.5f} of the labels agree"
