"""Finding vocabulary files and reading text; the YAML form has its own tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import activesam_ros
from activesam_ros.errors import VocabularyError
from activesam_ros.system import files
from activesam_ros.vocabulary import ClassSpec
from activesam_ros.vocabulary import files as vocabulary_file
from activesam_ros.vocabulary.files import (
    MAX_BYTES,
    load_vocabulary_file,
    parse_class_list,
    preset_names,
    preset_path,
)


@pytest.fixture
def write(tmp_path):
    def to_file(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def test_text_has_one_class_a_line(write):
    text = "\ufeff# streets\r\nroad\r\n\r\n  car ,  motor   car   # all of them\r\nc#minor\r\n#sky\r\n"
    path = write("words.txt", text)
    file = load_vocabulary_file(path)
    assert file.classes == (
        ClassSpec("road", ("road",)),
        ClassSpec("car", ("car", "motor car")),
        ClassSpec("c#minor", ("c#minor",)),
    )
    assert (file.background, file.background_threshold) == (None, None)
    assert (file.source, file.path) == (str(path), path)
    assert file.vocabulary().prompts == ("road", "car", "motor car", "c#minor")


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".YAML"])
def test_yaml_is_known_by_its_suffix(write, suffix):
    text = "background: car\nbackground_threshold: 0.5\nclasses: [road, car]\nsource: us\n"
    path = write(f"words{suffix}", text)
    file = load_vocabulary_file(str(path))
    assert (file.background, file.background_threshold, file.origin) == ("car", 0.5, "us")
    assert file.vocabulary().background_id == 1


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("road\n\n# x\ncar,, auto\n", 4, "blank alias"),
        ("road\n,\n", 2, "blank name"),
        ("!?\n", 1, "no letter or digit"),
        ("road\ncar\nROAD\n", 3, r"the same name as 'road' \(line 1\)"),
        ("plaything\rtoy\r", 2, r"'toy' and 'plaything' \(line 1\) both ask for 'toy'"),
        ("- road\n- car\n", 1, r"looks like YAML.* \.yaml"),
        ("# c\nclasses:\n", 2, "looks like YAML"),
        (b"road\nc\xe4r\n", 2, "not UTF-8"),
    ],
)
def test_refusals_of_text_name_the_line(write, text, line, reason):
    path = write("words.txt", text)
    with pytest.raises(VocabularyError, match=reason) as refusal:
        load_vocabulary_file(path)
    assert str(refusal.value).startswith(f"{path}, line {line}: ")


def test_errors_in_yaml_name_the_file(write):
    path = write("words.yaml", "classes:\n- road\n- 7\n")
    with pytest.raises(VocabularyError, match=r"line 3"):
        load_vocabulary_file(path)


@pytest.mark.parametrize("text", ["", "# nothing\n\n"])
def test_text_without_classes(write, text):
    with pytest.raises(VocabularyError, match=r"has no classes"):
        load_vocabulary_file(write("words.txt", text))


@pytest.mark.parametrize("source", ["", "  "])
def test_a_file_needs_a_name(source):
    with pytest.raises(VocabularyError, match=r"has no name"):
        load_vocabulary_file(source)


def test_a_missing_file_lists_the_presets():
    with pytest.raises(VocabularyError, match=r"no vocabulary file ade21k; .*ade20k, cityscapes"):
        load_vocabulary_file("ade21k")


def test_what_is_no_file(tmp_path):
    with pytest.raises(VocabularyError, match=r"is not a file"):
        load_vocabulary_file(tmp_path)
    with pytest.raises(VocabularyError, match=r"is not a file"):
        load_vocabulary_file("/dev/null")
    with pytest.raises(VocabularyError, match=r"cannot be opened"):
        load_vocabulary_file("x" * 5000)
    with pytest.raises(VocabularyError, match=r"no vocabulary file a\x00b|cannot be opened"):
        load_vocabulary_file("a\x00b")


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "model.txt"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(VocabularyError, match=r"name another file"):
        load_vocabulary_file(path)


def test_a_pipe_that_took_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    pipe = tmp_path / "words.txt"
    os.mkfifo(pipe)
    monkeypatch.setattr(Path, "is_file", lambda _: True)  # as it was a moment ago
    with pytest.raises(VocabularyError, match="is not a file"):
        load_vocabulary_file(pipe)


def test_home_is_understood(write, tmp_path, monkeypatch):
    write("words.txt", "road\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_vocabulary_file("~/words.txt").classes == (ClassSpec("road", ("road",)),)


def test_too_many_classes_name_the_file(write):
    path = write("words.txt", "".join(f"c{index}\n" for index in range(65_536)))
    with pytest.raises(VocabularyError, match=r"words\.txt: .*65536 classes"):
        load_vocabulary_file(path).vocabulary()


def test_a_preset_is_found_by_its_name_only(write, tmp_path, monkeypatch):
    write("voc20", "road\n")
    monkeypatch.chdir(tmp_path)
    assert load_vocabulary_file("voc20").path == preset_path("voc20")
    assert load_vocabulary_file("./voc20").classes == (ClassSpec("road", ("road",)),)
    assert load_vocabulary_file(Path("voc20")).classes == (ClassSpec("road", ("road",)),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("road; car, automobile; sky", ("road", "car, automobile", "sky")),
        ("car, automobile;", ("car, automobile",)),
        ("road;; sky ; ", ("road", "", "sky")),
        ("; ".join(f"thing {number}" for number in range(1000)), tuple(f"thing {n}" for n in range(1000))),
        ("voc20", None),
        ("./no/such/file.txt", None),
        ("road", None),
    ],
)
def test_words_are_told_from_a_preset_and_a_file(text, words):
    assert parse_class_list(text) == words


def test_a_file_may_have_a_name_like_words(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write("road; sky, mine.txt", "road\n")
    assert parse_class_list(str(path)) is None
    assert parse_class_list(f"~/{path.name}") is None


def test_commas_alone_separate_no_classes():
    with pytest.raises(VocabularyError, match=r"'road, car, sky' would be one class.*semicolons"):
        parse_class_list("road, car, sky")


@pytest.mark.parametrize("name", ["ade21k", "", "../activesam", "voc20.yaml"])
def test_there_is_no_such_preset(name):
    with pytest.raises(VocabularyError, match=r"there is no preset .*voc20"):
        preset_path(name)


@pytest.mark.parametrize("site", ["lib/python3.11/site-packages", "local/lib/python3.12/dist-packages", "."])
def test_an_installed_package_finds_its_presets(tmp_path, site):
    source = Path(vocabulary_file.__file__).parents[1]
    package = tmp_path / "prefix" / site / "activesam_ros"
    ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(source, package, ignore=ignore)
    share = tmp_path / "prefix" / "share" / "activesam_ros" / "config" / "vocabularies"
    share.mkdir(parents=True)
    shutil.copy(preset_path("voc20"), share)
    code = "from activesam_ros.vocabulary.files import *; print(preset_names(), preset_path('voc20'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=package.parent,
        env={"PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"('voc20',) {share / 'voc20.yaml'}"


def test_an_installation_without_presets_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "__file__", str(tmp_path / "activesam_ros" / "system" / "files.py"))
    assert preset_names() == ()
    with pytest.raises(VocabularyError, match=r"install the package again"):
        load_vocabulary_file("voc20")


def test_the_presets_are_the_files_in_the_source_tree():
    folder = Path(activesam_ros.__file__).resolve().parent.parent / "config" / "vocabularies"
    assert preset_names() == tuple(sorted(path.stem for path in folder.iterdir()))
