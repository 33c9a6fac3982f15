"""The folder of a run: who may use it, and what it keeps."""

from dataclasses import replace

import numpy as np
import pytest

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.records import FrameRecord
from activesam_ros.evaluation.results import read_notes, write_results
from activesam_ros.evaluation.run_folder import RunFolder
from activesam_ros.evaluation.summary import summarise

ASKED = {
    "recording": {"path": "street", "every": 1},
    "methods": [{"name": "active"}],
    "command": "activesam-evaluate street",
    "made": "2025-01-01T00:00:00+00:00",
    "machine": "a computer",
    "versions": {"torch": "2.9"},
}
RECORD = FrameRecord(0, 5, "active", active=(1,), presence=(0.5,), pixels=(9,), unlabeled=3)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "one")


@pytest.fixture
def begun(folder) -> RunFolder:
    assert folder.begin(ASKED) == []
    with folder.append_to() as file:
        file.append(RECORD)
    return folder


def test_a_run_begins_with_what_was_asked(folder):
    assert folder.begin(ASKED) == []
    assert folder.description() == ASKED


def test_the_same_request_takes_up_what_was_done(begun):
    assert begun.begin(ASKED) == [RECORD]
    with begun.append_to() as file:
        file.append(replace(RECORD, index=1))
    assert [one.index for one in begun.begin(ASKED)] == [0, 1]


@pytest.mark.parametrize("name", ["command", "made", "machine", "versions"])
def test_what_labels_do_not_depend_on_may_differ(begun, name):
    assert begun.begin({**ASKED, name: "another"}) == [RECORD]


@pytest.mark.parametrize(
    "changed", [{"recording": {"path": "street", "every": 2}}, {"methods": []}, {"seed": 0}]
)
def test_another_request_is_refused(begun, changed):
    (name,) = changed
    with pytest.raises(EvaluationError, match=f"another {name}; .*--out.*--overwrite"):
        begun.begin({**ASKED, **changed})
    assert begun.description() == ASKED and begun.begin(ASKED) == [RECORD]


def test_a_request_with_less_is_another_one(begun):
    with pytest.raises(EvaluationError, match="another recording"):
        begun.begin({name: value for name, value in ASKED.items() if name != "recording"})


def test_plain_data_is_compared_as_json_has_it(begun):
    # Tuples become lists on their way to the disk.
    begun.begin({**ASKED, "seed": 0, "corruptions": ("fog:3",)}, overwrite=True)
    with begun.append_to() as file:
        file.append(RECORD)
    assert begun.begin({**ASKED, "seed": 0, "corruptions": ("fog:3",)}) == [RECORD]


def test_a_run_without_a_frame_gives_way(folder):
    folder.begin(ASKED)
    folder.save_prediction("active", "", 0, np.zeros((2, 2), np.uint8))
    assert folder.begin({**ASKED, "seed": 1}) == []
    assert folder.description()["seed"] == 1
    assert folder.prediction("active", "", 0) is None


def test_overwriting_removes_what_the_run_left_and_nothing_else(begun):
    begun.save_prediction("active", "", 0, np.zeros((2, 2), np.uint8))
    (begun.path / "pictures").mkdir()
    for name in ("report.html", "results.json", "frames.csv", "pictures/a.png", "notes of mine.txt"):
        (begun.path / name).write_text("left")
    assert begun.begin({**ASKED, "seed": 1}, overwrite=True) == []
    assert sorted(path.name for path in begun.path.iterdir()) == ["notes of mine.txt", "run.json"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_something_else_are_never_touched(folder, overwrite):
    folder.path.mkdir(parents=True)
    (folder.path / "thesis.txt").write_text("years of work")
    with pytest.raises(EvaluationError, match="files that are no evaluation.*--out"):
        folder.begin(ASKED, overwrite)
    assert [path.name for path in folder.path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_folder(folder):
    folder.path.parent.mkdir()
    folder.path.write_text("years of work")
    with pytest.raises(EvaluationError, match="is a file; give another folder with --out"):
        folder.begin(ASKED, overwrite=True)
    assert folder.path.read_text() == "years of work"


def test_an_empty_folder_is_fine(folder):
    folder.path.mkdir(parents=True)
    assert folder.begin(ASKED) == []


@pytest.mark.parametrize("content", [None, "{", "\udcff"])
def test_a_folder_without_a_run_says_so(folder, content):
    folder.path.mkdir(parents=True)
    if content is not None:
        (folder.path / "run.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(EvaluationError, match="no folder of an evaluation: run.json is missing or damaged"):
        folder.description()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_labels_come_back_exactly(folder, kind):
    labels = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (7, 5), kind, endpoint=True)
    folder.save_prediction("active", "fog:3", 12, labels)
    assert np.array_equal(folder.prediction("active", "fog:3", 12), labels)
    assert folder.prediction("active", "fog:3", 12).dtype == kind
    assert (folder.path / "predictions" / "active+fog-3" / "000012.png").exists()
    assert folder.prediction("active", "", 12) is None and folder.prediction("active", "fog:3", 1) is None


def test_labels_that_cannot_be_written_are_told(folder):
    folder.path.mkdir(parents=True)
    # A folder is where the file would be.
    folder._prediction_path("active", "", 0).mkdir(parents=True)
    with pytest.raises(EvaluationError, match="000000.png cannot be written; see that the disk has room"):
        folder.save_prediction("active", "", 0, np.zeros((2, 2), np.uint8))


def test_notes_are_those_of_the_last_report(begun):
    assert read_notes(begun) == []
    results = summarise([RECORD], [], ["active"], [""])
    write_results(begun.path / "results.json", results, {**ASKED, "notes": ["it was cut"]})
    assert read_notes(begun) == ["it was cut"]
    (begun.path / "results.json").write_text('{"version": 99}')
    assert read_notes(begun) == []
