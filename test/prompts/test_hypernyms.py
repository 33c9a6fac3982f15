"""The two sources of hypernyms."""

import json
from importlib import resources

import pytest

from activesam_ros.prompts.hypernyms import WORDNET_ROOT, TableHypernyms, WordNetHypernyms, default_hypernyms
from activesam_ros.toytown import DEMO_CLASSES
from activesam_ros.vocabulary.canonical import canonical_name


def test_the_shipped_table():
    lookup = TableHypernyms.shipped()
    assert lookup("car") == ("motor vehicle",)
    assert lookup("Bicycle") == ("wheeled vehicle",)
    assert lookup("no such word") == ()
    found = [word for word in DEMO_CLASSES if lookup(canonical_name(word))]
    assert len(found) >= len(DEMO_CLASSES) - 6


def test_a_table_gives_at_most_two():
    assert TableHypernyms({"Thing": ["a", "b", "c"]})("thing") == ("a", "b")


def test_without_wordnet_the_table_serves(tmp_path):
    assert isinstance(default_hypernyms(tmp_path), TableHypernyms)


def test_a_damaged_wordnet_falls_back_with_a_warning(tmp_path, caplog):
    pytest.importorskip("nltk")
    (tmp_path / "data.noun").write_text("not a database")
    assert isinstance(default_hypernyms(tmp_path), TableHypernyms)
    assert "cannot be read" in caplog.text


@pytest.fixture(scope="module")
def wordnet():
    pytest.importorskip("nltk")
    if not (WORDNET_ROOT / "data.noun").is_file():
        pytest.skip(f"no WordNet in {WORDNET_ROOT}; Debian's package wordnet-base has it")
    return WordNetHypernyms(WORDNET_ROOT)


def test_wordnet(wordnet):
    assert wordnet("traffic light") == ("light",)
    assert set(wordnet("person")) == {"organism", "causal agent"}
    assert wordnet("no such word") == ()


def test_the_table_is_wordnets(wordnet):
    source = resources.files("activesam_ros.prompts").joinpath("hypernyms.json")
    table = json.loads(source.read_text(encoding="utf-8"))["hypernyms"]
    assert {name: tuple(kinds) for name, kinds in table.items()} == {name: wordnet(name) for name in table}
