import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from activesam_ros.ros.diagnostics import Level  # noqa: E402
from activesam_ros.ros.preparation import Served  # noqa: E402
from activesam_ros.ros.vocabulary_status import vocabulary_status  # noqa: E402
from activesam_ros.text.embedder import EncodingReport  # noqa: E402
from activesam_ros.vocabulary import Vocabulary  # noqa: E402

from .fakes import FakeSegmenter  # noqa: E402


def status(revision=3, accepted=3, loaded=True, error=None, prompt_cache="/cache/prompts"):
    vocabulary = Vocabulary.from_names(["road", "car, automobile"])
    served = Served(FakeSegmenter(), vocabulary, revision, EncodingReport(2, 1, 0.5)) if revision else None
    return vocabulary_status(served, accepted, loaded, error, prompt_cache)


def test_what_is_in_force_is_told_in_figures():
    told = status()
    assert (told.name, told.level, told.message) == ("vocabulary", Level.OK, "revision 3 is in force")
    assert told.values == {
        "revision": 3,
        "revision accepted": 3,
        "prompt cache": "/cache/prompts",
        "classes": 2,
        "prompts": 3,
        "phrases from the cache": 2,
        "phrases encoded": 1,
        "encoding seconds": 0.5,
        "text encoder loaded": False,
    }


def test_what_is_on_its_way_is_told():
    told = status(accepted=5)
    assert told.level == Level.OK and told.message == "revision 3 is in force, revision 5 is coming"


def test_a_failure_is_an_error_with_its_reason():
    told = status(error="out of memory")
    assert told.level == Level.ERROR and told.values["last error"] == "out of memory"
    assert told.message == "the last change failed, revision 3 is in force: out of memory"


def test_before_the_first_vocabulary_it_warns():
    loading = status(revision=None, accepted=1, loaded=False)
    encoding = status(revision=None, accepted=1)
    assert loading.level == encoding.level == Level.WARN
    assert loading.message == "the model is loading"
    assert encoding.message == "the first vocabulary is being encoded"


def test_without_a_model_on_its_way_nothing_is_wrong():
    told = status(revision=None, accepted=2, loaded=None, prompt_cache=None)
    assert (told.level, told.message) == (Level.OK, "no model is loaded, so none is in force")
    assert told.values == {"revision accepted": 2}
