"""From records to the files of a report, and the headline in plain text."""

import csv
import json
from dataclasses import replace

import pytest

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation import results
from activesam_ros.evaluation.records import FrameRecord, TruthScores
from activesam_ros.evaluation.results import finalize, read_notes, read_results
from activesam_ros.evaluation.run_folder import RunFolder

NAMES = ("road", "car", "dragon")
DESCRIPTION = {
    "vocabulary": [{"id": number, "name": name} for number, name in enumerate(NAMES)],
    "matching": {"classes": ["road", "car"]},
    "methods": [{"name": "active"}, {"name": "paper"}],
    "corruptions": ["fog:3"],
}


def record(
    method="active", corruption="", index=0, right=50, unknown=(), seconds=0.5, work=2e9
) -> FrameRecord:
    """A frame of 100 road pixels, of which so many are right and the others unlabelled, and 100 right car pixels."""
    confusion = ((0, 0, right), (0, 2, 100 - right), (1, 1, 100))
    return FrameRecord(
        index=index,
        stamp=index,
        method=method,
        corruption=corruption,
        width=20,
        height=10,
        active=(0, 1),
        presence=(1.0, 1.0),
        pixels=(right, 100),
        unlabeled=100 - right,
        truth=TruthScores(2, (0, 1), confusion, unknown=unknown),
        agreement=0.5,
        timings={"total": seconds},
        latency=seconds,
        work=work,
    )


@pytest.fixture
def told(monkeypatch) -> list:
    """What the page was made of; the page itself has its own tests."""
    pages: list = []

    def write_report(*given):
        pages.append(given)
        return given[0] / "report.html"

    monkeypatch.setattr(results, "write_report", write_report)
    return pages


@pytest.fixture
def folder_of(tmp_path):
    def make(*records: FrameRecord, **changed) -> RunFolder:
        folder = RunFolder(tmp_path / "run")
        folder.begin({**DESCRIPTION, **changed})
        with folder.append_to() as file:
            for one in records:
                file.append(one)
        return folder

    return make


def test_the_headline(folder_of, told):
    folder = folder_of(
        record(),
        record("paper", right=70, seconds=0.25, work=4e9),
        record(corruption="fog:3", right=0),
        FrameRecord(1, 1, "active", error="no memory"),
    )
    page, table = finalize(folder)
    assert page == folder.path / "report.html"
    *lines, failure = table.splitlines()
    assert failure == "active: 1 with an error, most often (1): no memory"
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert rows == [
        ["frames", "mIoU", "to the first", "agreement", "frames/s", "work/frame"],
        # IoU of road: 0.5, 0 and 0.7; of car: 1.
        ["active", "1 (+1 failed)", "75.0 %", "50.0 %", "2.00", "2.00 GFLOP"],
        ["active fog:3", "1", "50.0 %", "−25.0", "50.0 %", "2.00", "2.00 GFLOP"],
        ["paper", "1", "85.0 %", "+10.0", "50.0 %", "4.00", "4.00 GFLOP"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_without_truth_the_headline_has_none(folder_of, told):
    folder = folder_of(replace(record(), truth=None), matching=None, corruptions=[])
    _, table = finalize(folder)
    assert "50.0 %" in table and table.splitlines()[1].split()[:3] == ["active", "1", "–"]
    assert json.loads((folder.path / "results.json").read_text())["classes"] == []


def test_files_have_what_was_asked_and_every_record(folder_of, told):
    folder = folder_of(record(), record(index=1), record("paper"))
    finalize(folder, ["it was cut"])
    results = read_results(folder.path / "results.json")
    assert results["run"] == {**DESCRIPTION, "notes": ["it was cut"]}
    assert [one["method"] for one in results["summaries"]] == ["active", "paper"]
    with (folder.path / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["index"]) for row in rows] == [
        ("active", "0"),
        ("active", "1"),
        ("paper", "0"),
    ]
    assert rows[0]["active_classes"] == "road; car"
    (page,) = told
    assert (
        page[0] == folder.path and len(page[2]) == 3 and page[3] == DESCRIPTION and page[4] == ["it was cut"]
    )


def test_ids_that_the_truth_does_not_explain_are_told_once(folder_of, told):
    unknown = tuple((number, number) for number in range(40, 46))
    folder = folder_of(record(unknown=unknown))
    sentence = (
        "The ground truth has ids without a name, which do not count: 45 (45 pixels), 44 (44 pixels), "
        "43 (43 pixels), 42 (42 pixels), 41 (41 pixels)."
    )
    finalize(folder, ["it was cut"])
    assert read_notes(folder) == ["it was cut", sentence]
    finalize(folder, read_notes(folder))
    assert read_notes(folder) == ["it was cut", sentence]


def test_a_run_without_a_frame_has_no_report(folder_of, told):
    folder = folder_of()
    with pytest.raises(EvaluationError, match="no frame that was done"):
        finalize(folder)
    assert not told and not (folder.path / "results.json").exists()


def test_a_damaged_record_names_its_line(folder_of, told):
    folder = folder_of(record())
    with folder.records_path.open("a") as file:
        file.write("{}\n")
    with pytest.raises(EvaluationError, match="line 2 of .*records.jsonl is no record"):
        finalize(folder)
