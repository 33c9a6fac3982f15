"""Training of the demo model on a small scale: losses, examples, forward pass, resuming, the command."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import permutations

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer, Sam3Model

from activesam_ros.cli.train_toytown import main
from activesam_ros.toytown import model_folder
from activesam_ros.toytown.examples import Sampler, Target, load_or_render, preprocess
from activesam_ros.toytown.network import (
    Prediction,
    image_features,
    make_model,
    pad,
    predict,
    set_resolution,
    text_features,
)
from activesam_ros.toytown.objective import (
    DENSE,
    PROMPTED,
    LossWeights,
    Plan,
    TrainSettings,
    assign,
    plan,
    prompt_losses,
)
from activesam_ros.toytown.train import LocalGradients, PooledGradients, Trainer, open_sampler, run, train


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return tmp_path_factory.mktemp("scenes"), 12, 0


@pytest.fixture(scope="module")
def store(scenes):
    return load_or_render(*scenes, processes=1, progress=False)


@pytest.fixture(scope="module")
def tokenizer():
    return CLIPTokenizer.from_pretrained(model_folder())


def _trainer(tokenizer, steps=3):
    torch.manual_seed(0)
    settings = TrainSettings(minutes=None, steps=steps, dense_share=0.34, dense_images=2, images=2)
    return Trainer(make_model(len(tokenizer)), tokenizer, settings)


def _train(trainer, store, folder, until_step=None):
    folder.mkdir(exist_ok=True)
    sampler = partial(Sampler, store, trainer.tokenizer)
    with LocalGradients(trainer.objective, sampler, trainer.settings) as gradients:
        run(trainer, gradients, folder, progress=False, until_step=until_step)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(store, tokenizer, tmp_path):
    whole = _trainer(tokenizer)
    _train(whole, store, tmp_path / "whole")
    _train(_trainer(tokenizer), store, tmp_path / "halves", until_step=2)
    resumed = _trainer(tokenizer)
    resumed.restore(torch.load(tmp_path / "halves" / "state.pt", weights_only=True))
    assert resumed.step == 2
    _train(resumed, store, tmp_path / "halves")
    assert whole.step == resumed.step == 3
    for name, value in whole.average.state_dict().items():
        torch.testing.assert_close(resumed.average.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    assert {plan(whole.settings, step, step / 3).stage for step in range(3)} == {DENSE, PROMPTED}


def test_processes_compute_the_gradient_that_one_process_does(scenes, store, tokenizer):
    trainer = _trainer(tokenizer)
    sampler = partial(open_sampler, scenes, tokenizer)
    chosen = Plan(0, PROMPTED, 128, with_context=True)
    with LocalGradients(trainer.objective, sampler, trainer.settings) as gradients:
        expected_losses = gradients.compute(chosen)
        expected = [None if p.grad is None else p.grad.clone() for p in trainer.objective.parameters()]
    with PooledGradients(trainer.objective, sampler, trainer.settings) as gradients:
        gradients.prepare(chosen)
        losses = gradients.compute(chosen)
    assert losses[0].keys() == expected_losses[0].keys()
    for parameter, gradient in zip(trainer.objective.parameters(), expected, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_a_process_that_fails_says_why(tokenizer, tmp_path):
    trainer = _trainer(tokenizer)
    sampler = partial(open_sampler, (tmp_path, 0, 0), tokenizer)
    with (
        PooledGradients(trainer.objective, sampler, trainer.settings) as gradients,
        pytest.raises(RuntimeError, match=r"ValueError: .*0 scenes"),
    ):
        gradients.compute(Plan(0, DENSE, 128, with_context=False))


def test_the_written_folder_is_a_small_half_precision_sam3_model(store, tokenizer, tmp_path):
    trainer = _trainer(tokenizer)
    trainer.write(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 8e6
    loaded = Sam3Model.from_pretrained(tmp_path)
    assert loaded.dtype == torch.float16
    wanted = trainer.average.state_dict()
    assert all(torch.equal(value, wanted[name].half()) for name, value in loaded.state_dict().items())


def test_batches_depend_on_the_generator_alone(store, tokenizer):
    a, b = (Sampler(store, tokenizer).prompted(np.random.default_rng(5), 2, 128) for _ in range(2))
    assert torch.equal(a.pixels, b.pixels) and a.prompts == b.prompts and a.hypernyms == b.hypernyms
    assert a.pixels.shape == (2, 3, 128, 128) and a.dense.shape == (2, 19, 32, 32)
    assert len(a.prompts) == len(a.targets) == len(a.image_index) == 14
    for target in a.targets:
        if target is not None:
            assert target.semantic.any() and target.semantic.shape == target.masks.shape[1:] == (128, 128)
            assert target.boxes.shape[0] == target.masks.shape[0]
            assert target.boxes.min() >= 0 and target.boxes.max() <= 1


def test_images_are_preprocessed_to_a_square_in_minus_one_to_one():
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, 20:] = 255
    pixels = preprocess(image, 16)
    assert pixels.shape == (3, 16, 16)
    assert pixels.min() == -1 and pixels.max() == 1
    assert pixels[0, 0, 0] == -1 and pixels[0, 0, -1] == 1


def test_the_training_forward_pass_is_the_models_own(tokenizer):
    """Without the geometry token, and with every prompt alone, `Sam3Model.forward` gives the same numbers."""
    torch.manual_seed(0)
    model = make_model(len(tokenizer)).eval()
    tokens, mask = pad([tokenizer("traffic light").input_ids, tokenizer("sky").input_ids])
    pixels = torch.randn(1, 3, 192, 192)
    with torch.no_grad():
        image = image_features(model, pixels)
        text = text_features(model, tokens, mask)
        bare = type(image)(image.pyramid, image.position, image.geometry[:, :0])
        ours = predict(model, bare, torch.zeros(2, dtype=torch.long), text, mask)
        theirs = model(
            pixel_values=pixels.expand(2, -1, -1, -1), input_ids=tokens, attention_mask=mask.long()
        )
    torch.testing.assert_close(ours.masks, theirs.pred_masks, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.semantic, theirs.semantic_seg[:, 0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.presence[-1], theirs.presence_logits[:, 0], rtol=1e-3, atol=1e-4)


def test_masks_of_some_prompts_equal_masks_of_all(tokenizer):
    torch.manual_seed(0)
    model = make_model(len(tokenizer)).eval()
    set_resolution(model, 128)
    tokens, mask = pad(tokenizer(["car", "bus", "tree"]).input_ids)
    with torch.no_grad():
        image = image_features(model, torch.randn(2, 3, 128, 128))
        text, index = text_features(model, tokens, mask), torch.tensor([0, 1, 1])
        everything = predict(model, image, index, text, mask)
        some = predict(model, image, index, text, mask, torch.tensor([0, 2]))
    torch.testing.assert_close(some.masks, everything.masks[[0, 2]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(some.semantic, everything.semantic[[0, 2]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["--resume"], "nothing to resume"),
        (["--steps", "-1"], "above 0"),
        (["--steps", "0"], "above 0"),
        (["--minutes", "0"], "above 0"),
        (["--minutes", "1", "--steps", "3"], "not allowed with"),
    ],
)
def test_the_command_says_what_is_wrong(given, complaint, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(tmp_path), *given])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_command_trains_and_refuses_to_overwrite(tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--steps", "1", "--scenes", "6", "--threads", "1"]
    assert main(arguments) == 0
    assert "trained 1 steps" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(arguments)
    assert "--resume" in capsys.readouterr().err


@pytest.mark.parametrize("targets", [1, 2, 3, 4])
def test_assignment_is_the_cheapest(targets):
    r = np.random.default_rng(targets)
    for _ in range(40):
        cost = r.normal(size=(6, targets))
        rows, columns = assign(cost)
        assert len(set(rows)) == targets and sorted(columns) == list(range(targets))
        cheapest = min(sum(cost[row, t] for t, row in enumerate(p)) for p in permutations(range(6), targets))
        assert cost[rows, columns].sum() == pytest.approx(cheapest)


def test_more_targets_than_queries_are_refused():
    with pytest.raises(ValueError, match="3 targets to 2 queries"):
        assign(np.zeros((2, 3)))


def _prediction(sure: float) -> Prediction:
    """One present prompt (a left-half mask) and one absent, predicted right with the given certainty."""
    logits = torch.full((1, 2, 3), -sure)
    logits[0, 0, 1] = sure
    boxes = torch.full((1, 2, 3, 4), 0.9)
    boxes[0, 0, 1] = torch.tensor([0.25, 0.5, 0.5, 1.0])
    half = torch.full((4, 4), -sure)
    half[:, :2] = sure
    masks = torch.full((2, 3, 4, 4), -sure)
    masks[0, 1] = half
    semantic = torch.stack([half, torch.full((4, 4), -sure)])
    return Prediction(boxes, logits, torch.tensor([[sure, -sure]]), torch.arange(2), semantic, masks)


def test_a_right_prediction_costs_nothing_and_a_wrong_one_much():
    mask = torch.zeros(4, 4)
    mask[:, :2] = 1
    targets = [Target(mask, torch.tensor([[0.25, 0.5, 0.5, 1.0]]), mask[None]), None]
    right = prompt_losses(_prediction(12.0), targets, LossWeights())
    assert sum(right.values()).item() < 1e-2
    swapped = [None, targets[0]]
    wrong = prompt_losses(_prediction(12.0), swapped, LossWeights())
    for name in ("presence", "semantic", "fused", "score", "mask", "box"):
        assert wrong[name] > right[name] + 0.5, name


def test_masks_are_compared_at_the_size_of_the_image_and_above_all_at_edges():
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[:, :16] = True
    near, far = mask.clone(), mask.clone()
    near[:, 16:18] = True
    far[:, 30:] = True

    def cost(shown, edge):
        targets = [Target(shown, torch.tensor([[0.25, 0.5, 0.5, 1.0]]), shown[None]), None]
        losses = prompt_losses(_prediction(4.0), targets, LossWeights(edge=edge))
        return torch.stack([losses[name] for name in ("semantic", "mask")])

    # Both differ from the prediction in 2 of 32 columns.
    assert (cost(mask, 5.0) < cost(near, 5.0)).all()
    plain = cost(near, 0.0) / cost(far, 0.0)
    assert (cost(near, 5.0) / cost(far, 5.0) > plain).all()


def test_going_on_from_trained_weights_skips_the_dense_stage_at_half_the_rates():
    settings = TrainSettings()
    later = settings.for_trained_weights()
    assert plan(later, 0, 0.0).stage == PROMPTED and plan(settings, 0, 0.0).stage != PROMPTED
    assert (later.rate, later.matrix_rate) == (settings.rate / 2, settings.matrix_rate / 2)


def test_a_resumed_run_goes_on_from_trained_weights_as_it_began(scenes, store, tmp_path):
    settings = TrainSettings(minutes=None, steps=1, images=2)
    train(tmp_path, settings, model_folder(), scenes, threads=1, init=model_folder())
    resumed = train(tmp_path, replace(settings, steps=2), model_folder(), scenes, threads=1, resume=True)
    assert resumed.step == 2 and resumed.settings == replace(settings, steps=2).for_trained_weights()
