"""Filling the prompt cache from the command line."""

import re
import shutil

import pytest
from safetensors.torch import load_file, save_file

from activesam_ros.cli import cache as cache_command
from activesam_ros.cli.command import vocabulary_of
from activesam_ros.model.checkpoint import TextCheckpoint
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.segmenter import ActiveSegmenter

WORDS = "road; car, automobile; traffic light; sky;"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "prompts"


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = cache_command.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def fill(capsys, cache, *words, model="toytown") -> str:
    vocabularies = [part for text in words for part in ("--vocabulary", text)]
    code, out, err = run(capsys, "--model", model, "--prompt-cache", cache, "--device", "cpu", *vocabularies)
    assert (code, err) == (0, "")
    return out


def refused(capsys, *arguments) -> str:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("activesam-cache: ")
    return line


def misses(out) -> int:
    return int(re.search(r"(\d+) misses", out)[1])


@pytest.fixture
def no_encoder(monkeypatch):
    def load(self):
        raise AssertionError("the text encoder was loaded")

    monkeypatch.setattr(TextCheckpoint, "load_text_side", load)


def test_cold_then_warm(capsys, cache, request):
    first = fill(capsys, cache, WORDS)
    fingerprint = re.search(r"fingerprint +([0-9a-f]{32})", first)[1]
    files = list((cache / fingerprint).glob("*.safetensors"))
    assert str(cache) in first and "0 hits" in first and misses(first) == len(files) > 5
    written = {path: path.read_bytes() for path in files}
    request.getfixturevalue("no_encoder")
    second = fill(capsys, cache, WORDS)
    assert f"nothing to do, {len(files)} prompts cached" in second and fingerprint in second
    assert written == {path: path.read_bytes() for path in (cache / fingerprint).glob("*.safetensors")}


def test_only_what_is_new_is_encoded(capsys, cache):
    fill(capsys, cache, WORDS)
    assert misses(fill(capsys, cache, WORDS, "sky; zq one; zq two")) == 2


def test_a_node_with_these_words_never_loads_the_text_encoder(capsys, cache, request):
    """Also with the hypernyms of the shipped table, whatever source this machine has."""
    fill(capsys, cache, "cityscapes", WORDS)
    request.getfixturevalue("no_encoder")
    for source in (None, TableHypernyms.shipped()):
        segmenter = ActiveSegmenter.from_pretrained(
            "toytown", device="cpu", prompt_cache=cache, hypernyms=source
        )
        for words in ("cityscapes", WORDS):
            prompts = segmenter.encode(vocabulary_of(words))
            assert prompts.report.misses == 0 and prompts.report.hits > 0
        assert not segmenter.text_encoder_loaded


def test_without_hypernyms(capsys, cache):
    code, out, _ = run(
        capsys, "--model", "toytown", "--vocabulary", WORDS, "--prompt-cache", cache, "--no-hypernyms"
    )
    assert code == 0 and misses(out) == 5


def test_the_default_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run(capsys, "--model", "toytown", "--vocabulary", "road; sky")[0] == 0
    assert list((tmp_path / "activesam_ros" / "prompts").rglob("*.safetensors"))


def test_words_from_a_file(capsys, cache, tmp_path):
    path = tmp_path / "my; words, all.txt"
    path.write_text("zq one\nzq two, zq three\n")
    assert misses(fill(capsys, cache, path)) == 3


def test_a_damaged_file_is_encoded_again(capsys, cache):
    fill(capsys, cache, WORDS)
    path = next(cache.rglob("*.safetensors"))
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    assert misses(fill(capsys, cache, WORDS)) == 1
    assert len(path.read_bytes()) == len(whole)


def test_bad_models(capsys, cache, toytown_folder, tmp_path):
    common = ("--vocabulary", WORDS, "--prompt-cache", cache)
    assert "does not exist" in refused(capsys, "--model", tmp_path / "nowhere", *common)
    copied = shutil.copytree(toytown_folder, tmp_path / "model")
    weights = load_file(copied / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "text_model.encoder" not in name}
    save_file(kept, copied / "model.safetensors", metadata={"format": "pt"})
    assert "lacks" in refused(capsys, "--model", copied, *common)
    (copied / "model.safetensors").write_bytes(b"torn")
    assert "cannot be loaded" in refused(capsys, "--model", copied, *common)
    assert not list(cache.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("no_such_preset", "there is no vocabulary file"),
        ("road; sky; Road", "'Road'"),
        ("road;; sky", "blank name"),
        ("road; " + "very " * 40 + "long", "tokens"),
        ("so " * 300 + "; b", "tokens"),
        ("a" * 5000 + "; b", "at most 1000"),
    ],
)
def test_bad_vocabularies(capsys, cache, words, reason):
    assert reason in refused(capsys, "--model", "toytown", "--vocabulary", words, "--prompt-cache", cache)


def test_a_folder_that_cannot_be_written(capsys, tmp_path, no_encoder):
    """It is refused before anything is encoded."""
    (tmp_path / "file").write_text("no folder")
    message = refused(
        capsys, "--model", "toytown", "--vocabulary", WORDS, "--prompt-cache", tmp_path / "file" / "below"
    )
    assert "cannot be written" in message


def test_a_disk_that_fills_up_is_no_success(capsys, cache, monkeypatch):
    """The cache serves on from memory then, which is no use ahead of deployment."""

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("activesam_ros.prompts.cache.write_atomically", full)
    code, _, err = run(capsys, "--model", "toytown", "--vocabulary", WORDS, "--prompt-cache", cache)
    assert code == 2 and "did not keep" in err


def test_pruning_removes_prompts_and_encodes_nothing(capsys, cache):
    fill(capsys, cache, WORDS)
    code, out, _ = run(capsys, "--prune", "--prompt-cache", cache)
    assert code == 0 and "removed      0 prompts" in out
    code, out, _ = run(capsys, "--prune", "0", "--prompt-cache", cache)
    assert code == 0 and "left         0 prompts, 0.0 MB" in out and not list(cache.rglob("*.safetensors"))
    assert "expected whole megabytes" in run_refused(capsys, "--prune", "some")
    assert "leave out" in run_refused(capsys, "--prune", "--model", "toytown")
    assert "required: --vocabulary" in run_refused(capsys, "--model", "toytown")


def run_refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as ended:
        run(capsys, *arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err
