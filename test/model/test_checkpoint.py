"""Loading models in every layout, the sentences for those that cannot be loaded, and the log while loading."""

import json
import logging
import math
import random
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils import logging as chatter

from activesam_ros.errors import ActiveSamError, ModelError
from activesam_ros.model.checkpoint import (
    _step,
    _weights_on_disk,
    load_checkpoint,
    open_text_checkpoint,
    resolve_device,
    resolve_dtype,
)
from activesam_ros.model.config import read_normalisation
from activesam_ros.model.folder import resolve_folder
from activesam_ros.model.parts import CountedTensors, counted_loading
from activesam_ros.prompts.text_encoder import TokenTable
from activesam_ros.segmenter import ActiveSegmenter


def as_video(folder, shards):
    """Rewrites a plain checkpoint in the layout of the published video checkpoint."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    video = {f"detector_model.{key}": value for key, value in weights.items()}
    video["tracker_model.mask_decoder.weight"] = torch.zeros(3, 3)
    video["tracker_neck.fpn_layers.0.proj1.weight"] = torch.zeros(2, 2)
    keys = sorted(video)
    index = {"metadata": {"total_size": 0}, "weight_map": {}}
    for shard in range(shards):
        name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors" if shards > 1 else "model.safetensors"
        part = {key: video[key] for key in keys[shard::shards]}
        save_file(part, folder / name, metadata={"format": "pt"})
        index["weight_map"].update(dict.fromkeys(part, name))
    if shards > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(
            {
                "architectures": ["Sam3VideoModel"],
                "model_type": "sam3_video",
                "detector_config": config,
                "tracker_config": {"model_type": "sam3_tracker_video"},
            }
        )
    )


@pytest.mark.parametrize("shards", [1, 3])
def test_video_checkpoints_give_the_same_weights(copied, shards, toytown_whole):
    as_video(copied, shards)
    same_as_whole(load_checkpoint(copied, device="cpu"), toytown_whole)


def test_plain_checkpoints_give_the_same_weights(toytown_checkpoint, toytown_whole):
    same_as_whole(toytown_checkpoint, toytown_whole)


def same_as_whole(checkpoint, whole):
    """Both parts together have the weights and the buffers of the whole model, and no part has the other's."""
    image, text = checkpoint.model, checkpoint.load_text_side()
    assert image.text_encoder is None
    for named in ("named_parameters", "named_buffers"):
        expected = dict(getattr(whole, named)())
        found = dict(getattr(image, named)()) | dict(getattr(text, named)())
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    own = set(dict(image.named_parameters())) & set(dict(text.named_parameters()))
    assert own == {"text_projection.weight", "text_projection.bias"}


def test_the_text_encoder_is_never_read_for_the_image_path(copied):
    """A copy whose text encoder is gone serves all the same."""
    weights = load_file(copied / "model.safetensors")
    kept = {key: value for key, value in weights.items() if not key.startswith("text_encoder.")}
    save_file(kept, copied / "model.safetensors", metadata={"format": "pt"})
    checkpoint = load_checkpoint(copied, device="cpu")
    with pytest.raises(ModelError, match="lacks"):
        checkpoint.load_text_side()


def test_the_bundled_model_is_found_by_name(toytown_folder, toytown_checkpoint):
    assert resolve_folder("toytown").resolve() == toytown_folder.resolve()
    assert toytown_checkpoint.dtype is torch.float32
    assert not toytown_checkpoint.model.training
    assert not any(parameter.requires_grad for parameter in toytown_checkpoint.model.parameters())


def test_the_configured_epsilon_is_honoured(copied):
    path = copied / "config.json"
    config = json.loads(path.read_text())
    config["vision_config"]["backbone_config"]["layer_norm_eps"] = 0.125
    path.write_text(json.dumps(config))
    backbone = load_checkpoint(copied, device="cpu").model.vision_encoder.backbone
    assert backbone.layers[0].layer_norm1.eps == 0.125


def test_half_precision_keeps_all_but_matrices_in_float32(toytown_folder):
    checkpoint = load_checkpoint(toytown_folder, device="cpu", dtype="bfloat16")
    model = checkpoint.model
    assert model.detr_encoder.layers[0].mlp.fc1.weight.dtype is torch.bfloat16
    assert model.detr_encoder.layers[0].layer_norm1.weight.dtype is torch.float32
    assert model.text_projection.weight.dtype is torch.float32
    assert model.detr_decoder.presence_head.layer1.weight.dtype is torch.float32
    assert model.detr_decoder.box_head.layer1.weight.dtype is torch.float32
    assert model.detr_decoder.layers[0].mlp.fc1.weight.dtype is torch.bfloat16
    assert model.detr_decoder.reference_points.weight.dtype is torch.float32
    assert model.vision_encoder.backbone.embeddings.position_embeddings.dtype is torch.float32


def test_missing_normalisation_is_a_half(copied):
    (copied / "preprocessor_config.json").unlink()
    assert load_checkpoint(copied, device="cpu").mean == (0.5, 0.5, 0.5)


def refused(model, **options) -> str:
    with pytest.raises(ModelError) as caught:
        load_checkpoint(model, **{"device": "cpu", **options})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_missing_folder(tmp_path):
    assert "does not exist" in refused(tmp_path / "nowhere")
    assert "does not exist" in refused("./nowhere/model")
    assert "is empty" in refused("")


def test_a_file_instead_of_a_folder(copied):
    assert "is the file" in refused(str(copied / "config.json"))


def drop_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["detr_decoder.presence_token.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def tear_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])


def drop_tokenizer(folder):
    for path in folder.glob("*token*"):
        path.unlink()


def change_config(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def other_queries(folder):
    change_config(folder, lambda config: config["detr_decoder_config"].update(num_queries=7))


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lambda folder: (folder / "config.json").unlink(), ("has no config.json",)),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "sam3", '), ("cannot be read",)),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "clip"}'),
            ("is of type 'clip'; expected SAM 3",),
        ),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            ("no *.safetensors", "pytorch_model.bin"),
        ),
        (tear_weights, ("cannot be loaded",)),
        (drop_weight, ("lacks 1 weights", "presence_token")),
        (other_queries, ("do not fit its config.json, such as 'detr_decoder.", "(7, ")),
        (drop_tokenizer, ("has no tokenizer",)),
    ],
)
def test_damaged_folders_are_refused(copied, damage, parts):
    damage(copied)
    message = refused(copied)
    assert all(part in message for part in parts)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.update(text_config="x"),
        lambda config: config.update(vision_config=5),
        lambda config: config.update(model_type="sam3_video"),
        lambda config: config.update(model_type="sam3_video", detector_config="x"),
    ],
)
def test_configurations_that_are_none(copied, change):
    change_config(copied, change)
    assert "config.json is" in refused(copied)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("pad_token", None, "has no pad_token"),
        ("padding_side", "left", "puts padding on the left; expected it on the right"),
        ("model_max_length", [], "cannot be loaded"),
    ],
)
def test_tokenizers_that_do_not_fit(copied, key, value, words):
    path = copied / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    assert words in refused(copied)


def entries(config, at=()):
    for key, value in config.items():
        yield (*at, key)
        if isinstance(value, dict):
            yield from entries(value, (*at, key))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_no_value_of_a_configuration_ends_in_a_raw_exception(copied, toytown_folder, street_image, seed):
    """Random values in random places: the model works as before, or one sentence says why not."""
    values = (
        None,
        -1,
        0,
        1,
        10**9,
        0.5,
        math.inf,
        math.nan,
        "x",
        "",
        [],
        [1, 2],
        [192, 192],
        {},
        {"a": None},
        True,
    )
    generator = random.Random(seed)
    expected = working(toytown_folder, street_image)
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        text = (toytown_folder / name).read_text()
        for place in generator.sample([*entries(json.loads(text))], 4):
            config = changed = json.loads(text)
            for key in place[:-1]:
                changed = changed[key]
            # Without its largest part, the model would be of the published size.
            value = generator.choice(values[place == ("vision_config",) :])
            changed[place[-1]] = value
            (copied / name).write_text(json.dumps(config))
            try:
                said = str(working(copied, street_image).shape)
            except ActiveSamError as error:
                said = str(error)
            except Exception as error:
                raise AssertionError(f"{name} {place} {value!r}: {error!r}") from error
            assert said == str(expected.shape) or (len(said) > 20 and "\n" not in said), (name, place, value)
        (copied / name).write_text(text)


def working(folder, image):
    segmenter = ActiveSegmenter.from_pretrained(folder, "cpu", prompt_cache=None)
    segmenter.set_vocabulary(["road", "sky"])
    return segmenter.segment(image).labels


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("backbone_config", "image_size"), [192, 192]),
        (("backbone_config", "num_hidden_layers"), 10**9),
        (("backbone_config", "num_attention_heads"), 0),
        (("fpn_hidden_size",), -1),
    ],
)
def test_sizes_that_no_model_has(copied, place, value):
    def change(config):
        part = config["vision_config"]
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = value

    change_config(copied, change)
    assert "config.json" in refused(copied)


def test_names_that_are_no_paths():
    assert "is no path" in refused("~nobody-has-this-name/model")
    assert "is no path" in refused("x" * 5000 + "/y")


def test_normalisation_is_read_from_either_file(copied):
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    path = copied / "preprocessor_config.json"
    path.write_text(json.dumps({"image_mean": mean, "image_std": std}))
    assert read_normalisation(copied) == (tuple(mean), tuple(std))
    nested = {"image_processor": {"image_mean": std, "image_std": mean}, "processor_class": "Sam3Processor"}
    (copied / "processor_config.json").write_text(json.dumps(nested))
    assert read_normalisation(copied) == (tuple(std), tuple(mean))


@pytest.mark.parametrize(
    "content",
    [
        {"image_mean": 0.5, "image_std": [1, 1, 1]},
        {"image_mean": [0, 0, 0], "image_std": [1, 0, 1]},
        {"image_mean": ["a", 0, 0], "image_std": [1, 1, 1]},
        {"image_mean": [0, 0], "image_std": [1, 1, 1]},
    ],
)
def test_normalisations_that_cannot_be(copied, content):
    (copied / "preprocessor_config.json").write_text(json.dumps(content))
    assert "expected three numbers" in refused(copied)


def test_devices_and_dtypes():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_dtype("auto", torch.device("cpu")) is torch.float32
    assert resolve_dtype("auto", torch.device("cuda")) is torch.bfloat16
    for device in ("gpu", "cuda:x", "meta", f"cuda:{torch.cuda.device_count()}"):
        with pytest.raises(ModelError, match="device is"):
            resolve_device(device)
    with pytest.raises(ModelError, match="dtype is 'half'"):
        resolve_dtype("half", torch.device("cpu"))


def test_the_text_side_opens_without_weights(copied, toytown_checkpoint):
    """Even a torn weights file is not noticed before a weight is asked for."""
    weights = copied / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    text = open_text_checkpoint(copied)
    assert text.context_length == toytown_checkpoint.context_length == 32
    assert text.embedding_sizes == (64, 64)
    with pytest.raises(ModelError, match="cannot be loaded"):
        text.load_text_projection()
    weights.write_bytes(whole)
    expected = toytown_checkpoint.model.text_projection
    projection = text.load_text_projection()
    assert torch.equal(projection.weight, expected.weight) and torch.equal(projection.bias, expected.bias)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("activesam_ros.model.parts.Sam3WithoutText.from_pretrained", "the weights of the model in"),
        ("activesam_ros.model.parts.Sam3WithoutText.to", "does not fit into the memory of cpu"),
    ],
)
def test_a_model_that_does_not_fit(toytown_folder, monkeypatch, where, words):
    def fail(*args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(where, fail)
    message = refused(toytown_folder)
    assert words in message and "free memory" in message


def lines(caplog):
    return [message for message in caplog.messages if "tensors" in message]


@pytest.mark.parametrize(
    ("tick", "expected"),
    [(1.0, [10, 20, 30, 40, 50, 60, 70, 80, 90]), (0.04, [25, 50, 75]), (0.001, [])],
)
def test_a_line_every_ten_per_cent_but_not_many_a_second(caplog, tick, expected):
    """The clock goes on by `tick` seconds at each tensor."""
    now = [0.0]
    taken = []
    with caplog.at_level(logging.INFO):
        for tensor in CountedTensors("weights", range(100), lambda: now[0]):
            taken.append(tensor)
            now[0] += tick
    assert taken == list(range(100))
    assert lines(caplog) == [f"weights: {percent} % of 100 tensors" for percent in expected]


def test_nothing_to_count(caplog):
    assert list(CountedTensors("weights", [])) == [] and not caplog.messages


def test_transformers_really_counts_there(toytown_folder, caplog, monkeypatch):
    """The demo model loads in no time, so the lines may follow at once."""
    monkeypatch.setattr("activesam_ros.model.parts.QUIET_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        load_checkpoint(toytown_folder, device="cpu")
    found = [re.fullmatch(r"weights: (\d+) % of (\d+) tensors", line) for line in lines(caplog)]
    assert len(found) == 9
    assert all(10 * (index + 1) <= int(line[1]) < 100 for index, line in enumerate(found))
    assert len({line[2] for line in found}) == 1


def test_each_step_is_said(toytown_folder, caplog):
    with caplog.at_level(logging.INFO):
        load_checkpoint(toytown_folder, device="cpu", dtype="bfloat16")
    said = [re.sub(r"\d+\.\d s", "N s", message) for message in caplog.messages]
    size = _weights_on_disk(toytown_folder)
    assert said == [
        f"loading {toytown_folder} from {toytown_folder} ({size} of weights) for cpu in bfloat16",
        "transformers imported in N s",
        "configuration and tokenizer read in N s",
        "weights read in N s",
        "weights put on cpu in N s",
        f"loaded {toytown_folder} in N s",
    ]


def test_a_step_that_fails_says_nothing(caplog):
    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match="torn"), _step("weights read"):
        raise ValueError("torn")
    assert not caplog.messages


def test_transformers_is_left_as_it_was():
    before = chatter.set_tqdm_hook(None)
    try:
        state = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
        with counted_loading("weights"):
            assert not chatter.is_progress_bar_enabled()
        with pytest.raises(ValueError, match="torn"), counted_loading("weights"):
            raise ValueError("torn")
        assert (chatter.get_verbosity(), chatter.is_progress_bar_enabled()) == state
        assert chatter.set_tqdm_hook(None) is None
    finally:
        chatter.set_tqdm_hook(before)


def test_sizes_for_people(tmp_path):
    for name, size in (
        ("a.safetensors", 1_500_000_000),
        ("b.safetensors", 200_000_000),
        ("c.bin", 9_000_000_000),
    ):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    assert _weights_on_disk(tmp_path) == "1.7 GB"
    (tmp_path / "a.safetensors").unlink()
    assert _weights_on_disk(tmp_path) == "200.0 MB"


@pytest.fixture
def lite_text(copied):
    """The demo model with LiteText's text encoder, random weights, as transformers' own class and saved by it."""
    from transformers import Sam3LiteTextConfig, Sam3LiteTextModel

    config = json.loads((copied / "config.json").read_text())
    text = {"hidden_size": 48, "intermediate_size": 96, "projection_dim": 32, "num_hidden_layers": 3}
    text |= {"num_attention_heads": 4, "max_position_embeddings": 77}
    text["vocab_size"] = config["text_config"]["vocab_size"]
    kept = {key: value for key, value in config.items() if key.endswith("_config") and key != "text_config"}
    for part in ("geometry_encoder", "detr_encoder", "detr_decoder", "mask_decoder"):
        kept[f"{part}_config"].pop("model_type", None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = Sam3LiteTextModel(Sam3LiteTextConfig(**kept, text_config=text)).eval().requires_grad_(False)
        for parameter in model.text_encoder.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(copied)
    return model


def test_lite_text_equals_transformers_own_class(lite_text, copied, street_image):
    same_as_whole(load_checkpoint(copied, device="cpu"), lite_text)
    segmenter = ActiveSegmenter.from_pretrained(copied, "cpu", prompt_cache=None)
    segmenter.set_vocabulary(["road", "traffic light"])
    assert segmenter.segment(street_image).labels.shape == street_image.shape[:2]
    encoder = segmenter._text
    prompts = ["road", "traffic light"]
    # As Sam3Processor pads.
    batch = segmenter._checkpoint.tokenizer(prompts, padding="max_length", max_length=32, return_tensors="pt")
    expected = lite_text.get_text_features(**batch).pooler_output
    found, _ = encoder.embed(prompts)
    for index, prompt in enumerate(prompts):
        valid = batch["attention_mask"][index].bool()
        assert torch.allclose(found[prompt].tokens, expected[index, valid], atol=1e-6)
    assert TokenTable(copied).pooled(["road"])[0] == pytest.approx(found["road"].pooled, abs=1e-6)
