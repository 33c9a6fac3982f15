"""A model's folder is data: nothing in it is executed or fetched for it; and the fingerprint of its text encoder."""

import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from activesam_ros.errors import ModelError
from activesam_ros.model.checkpoint import load_checkpoint
from activesam_ros.model.config import inert
from activesam_ros.model.folder import text_fingerprint
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.vocabulary import Vocabulary


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path):
    """The file that must not come into being."""
    mark = tmp_path / "executed"
    yield mark
    assert not mark.exists()


def test_the_bomb_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


def change(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def refused(folder) -> str:
    with pytest.raises(ModelError) as caught:
        load_checkpoint(folder, device="cpu")
    return str(caught.value)


def serves(folder):
    segmenter = ActiveSegmenter.from_pretrained(folder, "cpu", prompt_cache=None)
    segmenter.set_vocabulary(Vocabulary.from_names(["road", "sky"]))
    return segmenter


def test_weights_in_a_pickle_alone(copied, mark):
    (copied / "model.safetensors").unlink()
    torch.save({"weight": Bomb(mark)}, copied / "pytorch_model.bin")
    assert "pytorch_model.bin, which is not read since it may hold code" in refused(copied)


def test_a_pickle_beside_the_weights_is_left_alone(copied, mark):
    for name in ("pytorch_model.bin", "adapter_model.bin", "model.pt", "training_args.bin"):
        torch.save({"weight": Bomb(mark)}, copied / name)
    serves(copied)


def test_a_pickle_by_the_name_of_the_weights(copied, mark):
    torch.save({"weight": Bomb(mark)}, copied / "model.safetensors")
    assert "cannot be loaded" in refused(copied)


@pytest.mark.parametrize("shard", ["adapter_model.bin", "../model/model.bin", "../weights.safetensors", 7])
def test_an_index_that_points_elsewhere(copied, mark, shard):
    weights = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    save_file(weights, copied / "other.safetensors", metadata={"format": "pt"})
    if isinstance(shard, str):
        torch.save({"weight": Bomb(mark)}, copied / shard)
    index = copied / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(weights, shard)}))
    assert f"names {shard!r}; expected *.safetensors files beside it" in refused(copied)


@pytest.mark.parametrize("content", ["[]", "{", '{"weight_map": 5}', "{}"])
def test_an_index_that_is_none(copied, content):
    (copied / "model.safetensors.index.json").write_text(content)
    assert "is no index of weights" in refused(copied)


@pytest.mark.parametrize(
    "request_",
    [{"transformers_weights": "adapter_model.bin"}, {"quantization_config": {"quant_method": "hqq"}}],
)
def test_a_configuration_that_asks_for_other_weights(copied, mark, request_):
    torch.save({"weight": Bomb(mark)}, copied / "adapter_model.bin")
    change(copied / "config.json", **request_)
    assert f"asks for {next(iter(request_))}, which is not followed" in refused(copied)


def test_an_adapter(copied, mark):
    torch.save({"weight": Bomb(mark)}, copied / "adapter_model.bin")
    (copied / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    assert "has an adapter" in refused(copied)


def test_python_files_in_the_folder(copied, mark):
    (copied / "evil.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    names = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoImageProcessor", "AutoProcessor")
    code = {"auto_map": dict.fromkeys(names, "evil.Evil"), "trust_remote_code": True}
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        change(copied / name, **code)
    serves(copied)
    assert not any(name.startswith("transformers_modules") for name in sys.modules)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_kernels_from_the_hub_are_not_asked_for(copied, key):
    plain = load_checkpoint(copied, device="cpu").model.config._attn_implementation
    change(copied / "config.json", **{key: "someone/kernel", "kernel_config": {"x": "someone/kernel"}})
    found = serves(copied)._checkpoint.model.config
    assert found._attn_implementation == plain
    assert not hasattr(found, "kernel_config")


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "tokenizer_config.json", "config.json", "preprocessor_config.json"]
)
def test_a_pickle_in_place_of_a_text_file(copied, mark, name):
    (copied / name).write_bytes(pickle.dumps(Bomb(mark)))
    assert name.split(".")[0].split("_")[0] in refused(copied)


def test_a_configuration_that_asks_for_nothing_means_the_same(toytown_folder, tmp_path):
    from transformers import Sam3Config

    published = Sam3Config().to_json_string(use_diff=False)
    for text in ((toytown_folder / "config.json").read_text(), published):
        config = json.loads(text)
        made = [Sam3Config.from_dict(one).to_dict() for one in (inert(config, tmp_path), config)]
        assert made[0] == made[1]


def test_configurations_inside_are_cleaned_too(tmp_path):
    config = {"a": {"auto_map": {}, "kernel_size": 2}, "_attn_implementation": "x", "hidden_size": 3}
    assert inert(config, tmp_path) == {"a": {"kernel_size": 2}, "hidden_size": 3}


def fingerprint(folder, memo=None):
    config = json.loads((folder / "config.json").read_text())["text_config"]
    return text_fingerprint(folder, config, memo)


def rewrite(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_copies_and_layouts_agree(copied, toytown_folder):
    assert fingerprint(copied) == fingerprint(toytown_folder)
    weights = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    for shard in range(2):
        part = {f"detector_model.{key}": weights[key] for key in sorted(weights)[shard::2]}
        save_file(part, copied / f"model-{shard}.safetensors")
    assert fingerprint(copied) == fingerprint(toytown_folder)


def test_only_the_text_side_counts(copied, toytown_folder):
    rewrite(copied, lambda weights: weights["detr_decoder.presence_token.weight"].add_(1))
    assert fingerprint(copied) == fingerprint(toytown_folder)


def change_one_weight(folder):
    def change(weights):
        name = "text_encoder.text_model.final_layer_norm.weight"
        weights[name][-1] = torch.nextafter(weights[name][-1].float(), torch.tensor(9.0)).half() + 0.01

    rewrite(folder, change)


def change_projection(folder):
    rewrite(folder, lambda weights: weights["text_projection.bias"].add_(0.5))


def change_tokenizer(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text() + "\n")


def change_config(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["layer_norm_eps"] = 0.5
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("change", [change_one_weight, change_projection, change_tokenizer, change_config])
@pytest.mark.parametrize("remembered", [False, True])
def test_every_change_of_the_text_side_counts(copied, toytown_folder, tmp_path, change, remembered):
    memo = tmp_path / "memo.json" if remembered else None
    before = fingerprint(copied, memo)
    change(copied)
    assert fingerprint(copied, memo) != before


def test_unchanged_files_are_not_read_again(copied, tmp_path, monkeypatch):
    memo = tmp_path / "memo.json"
    first = fingerprint(copied, memo)

    def never(*_, **__):
        raise AssertionError("the weights were read again")

    monkeypatch.setattr("activesam_ros.model.folder.safe_open", never)
    assert fingerprint(copied, memo) == first


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}'])
def test_a_damaged_memo_is_made_again(copied, tmp_path, content):
    memo = tmp_path / "memo.json"
    memo.write_text(content)
    assert fingerprint(copied, memo) == fingerprint(copied)
    assert fingerprint(copied) in json.loads(memo.read_text()).values()


def dangling(folder, name):
    (folder / name).unlink()
    (folder / name).symlink_to("../../blobs/gone")


def pointer(folder, name):
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json"]
)
@pytest.mark.parametrize(
    ("damage", "words"), [(dangling, "is a link to ../../blobs/gone"), (pointer, "is a pointer of Git LFS")]
)
def test_files_that_are_elsewhere(copied, name, damage, words):
    damage(copied, name)
    assert f"{name} {words}" in refused(copied)


def fewer_layers(config, part):
    config[part]["num_hidden_layers" if part == "text_config" else "num_layers"] -= 1


@pytest.mark.parametrize("part", ["text_config", "detr_encoder_config", "detr_decoder_config"])
def test_weights_that_the_configuration_leaves_out(copied, part):
    path = copied / "config.json"
    config = json.loads(path.read_text())
    fewer_layers(config, part)
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"has \d+ weights that its config.json leaves out, such as"):
        serves(copied)


@pytest.mark.parametrize(
    "name", ["detr_encoder.layers.0.mlp.fc1", "text_encoder.text_model.encoder.layers.0.mlp.fc1"]
)
def test_tensors_of_an_adapter_among_the_weights(copied, name):
    rewrite(copied, lambda weights: weights.update({f"{name}.lora_A.weight": torch.zeros(2, 2)}))
    with pytest.raises(ModelError, match=f"leaves out, such as '{name}.lora_A.weight'"):
        serves(copied)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "street.safetensors"])
def test_an_adapter_beside_the_weights(copied, name):
    save_file({"base_model.model.fc1.lora_A.weight": torch.zeros(2, 2)}, copied / name)
    assert f"has an adapter ({name})" in refused(copied)


def test_other_files_beside_the_weights_are_left_alone(copied, toytown_folder):
    save_file({"anything": torch.zeros(2)}, copied / "optimizer.safetensors")
    serves(copied)
    assert fingerprint(copied) == fingerprint(toytown_folder)


def poison(weights):
    weights["detr_decoder.presence_token.weight"][0, 0] = float("nan")


def quantize(weights):
    name = "detr_encoder.layers.0.mlp.fc1.weight"
    weights[name] = weights[name].to(torch.int8)


@pytest.mark.parametrize(
    ("change", "words"), [(poison, "holds numbers that are not finite"), (quantize, "is stored as I8")]
)
def test_weights_that_are_no_plain_numbers(copied, change, words):
    rewrite(copied, change)
    assert words in refused(copied)


def test_other_content_of_the_same_size_and_times_counts(copied, tmp_path, monkeypatch):
    """As in images of file systems and containers, where every time is the same."""
    memo = tmp_path / "memo.json"
    path = copied / "model.safetensors"
    before, content = path.stat(), path.read_bytes()
    first = fingerprint(copied, memo)
    rewrite(copied, lambda weights: weights["text_projection.bias"].add_(0.5))
    other = path.read_bytes()
    assert len(other) == len(content)
    real = Path.stat

    def stat(self, **options):
        return before if self == path else real(self, **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert fingerprint(copied, memo) != first
    path.write_bytes(content)
    assert fingerprint(copied, memo) == first
