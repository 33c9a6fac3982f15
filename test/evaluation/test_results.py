"""The results of a run: its files, which are what the documentation says, and the headline in plain text."""

import csv
import dataclasses
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation import metrics, results, summary
from activesam_ros.evaluation.identities import FrameIdentities, IdentityScores
from activesam_ros.evaluation.records import FrameRecord, TruthScores
from activesam_ros.evaluation.results import (
    COLUMNS,
    finalize,
    read_notes,
    read_results,
    results_to_json,
    write_frames,
    write_results,
)
from activesam_ros.evaluation.run_folder import RunFolder
from activesam_ros.evaluation.summary import summarise

DOCUMENT = Path(__file__).parents[2] / "docs" / "evaluation-results.md"
CLASSES = ("road", "car")
RECORDS = [
    FrameRecord(
        index=4,
        stamp=1_700_000_000_000_000_001,
        method="active",
        width=20,
        height=10,
        active=(7,),
        presence=(0.5,),
        pixels=(150,),
        unlabeled=50,
        truth=TruthScores(2, (0,), ((0, 0, 150), (0, 2, 30), (1, 2, 20)), ((0, 5, 10), (1, 0, 5)), 2, 100),
        agreement=1 / 3,
        timings={"decode": 0.25, "total": 0.5},
        latency=0.75,
        work=2.5e12,
        work_split={"decode": 2.5e12},
        peak_memory=1_000_000,
    ),
    FrameRecord(4, 1_700_000_000_000_000_001, "active", "fog:1", error='no "memory", sorry'),
]


def cells(tmp_path):
    path = tmp_path / "frames.csv"
    write_frames(path, RECORDS, CLASSES, {7: "road"})
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_frames(tmp_path):
    first, second = cells(tmp_path)
    assert tuple(first) == (*COLUMNS, "decode_s", "total_s")
    expected = {
        "stamp_ns": "1700000000000000001",
        "error": "",
        "active": "1",
        "active_classes": "road",
        "unlabeled_share": "0.25",
        "mean_iou": f"{(150 / 180 + 0) / 2:.6g}",
        "pixel_accuracy": "0.75",
        "boundary_iou": "0.25",
        "present": "2",
        "missed": "1",
        "missed_classes": "car",
        "recall": "0.5",
        "precision": "1",
        "lost_share": "0.1",
        "flicker": "0.02",
        "agreement": "0.333333",
        "latency_s": "0.75",
        "work": "2.5e+12",
        "peak_memory": "1000000",
        "decode_s": "0.25",
        "total_s": "0.5",
    }
    assert {name: first[name] for name in expected} == expected
    assert (second["corruption"], second["error"]) == ("fog:1", 'no "memory", sorry')
    known = {"method", "corruption", "index", "stamp_ns", "error"}
    assert all(value == "" for name, value in second.items() if name not in known)


def test_frames_name_ids_that_have_no_name(tmp_path):
    write_frames(tmp_path / "frames.csv", RECORDS[:1], CLASSES, {})
    assert ",1,7,0.25," in (tmp_path / "frames.csv").read_text()


def test_frames_have_plain_line_ends(tmp_path):
    cells(tmp_path)
    assert (tmp_path / "frames.csv").read_bytes().count(b"\n") == 3
    assert b"\r" not in (tmp_path / "frames.csv").read_bytes()


def test_results_are_written_and_read(tmp_path):
    path = tmp_path / "results.json"
    found = summarise(RECORDS, CLASSES)
    write_results(path, found, {"command": "activesam-evaluate straße"})
    plain = read_results(path)
    assert plain == json.loads(json.dumps(results_to_json(found, {"command": "activesam-evaluate straße"})))
    assert plain["version"] == 2
    assert plain["run"]["command"].endswith("straße")
    assert plain["summaries"][0]["truth"]["mean_iou"] == found.summary("active").truth.mean_iou
    assert plain["summaries"][1]["errors"] == [['no "memory", sorry', 1]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ('{"version": 1}', "version 1; expected 2"),
        ("[]", "version None"),
    ],
)
def test_other_files_are_refused(tmp_path, content, said):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EvaluationError, match=said):
        read_results(path)


def documented(heading):
    """The names in the first column of the table under a heading."""
    section = (
        DOCUMENT.read_text(encoding="utf-8")
        .split(f"## {heading}\n", 1)[1]
        .split("\n## ", 1)[0]
        .split("\n#", 1)[0]
    )
    return [
        name
        for row in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
        for name in re.findall(r"`([^`]*)`", row)
    ]


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("A summary", summary.Summary),
        ("`truth`", summary.TruthSummary),
        ("`classes` of `truth`", summary.ClassScores),
        ("`identities`", IdentityScores),
        ("`active_set`", metrics.ActiveSetScores),
        ("`classes` of `active_set`", metrics.ClassRecall),
        ("`decoded`", summary.Decoded),
        ("A comparison", summary.Comparison),
        ("A spread", metrics.Percentiles),
        ("`robustness`", summary.Robustness),
    ],
)
def test_every_field_is_documented(heading, kind):
    assert documented(heading) == [field.name for field in dataclasses.fields(kind)]


def test_the_outermost_fields_are_documented():
    assert documented("`results.json`") == list(results_to_json(summarise(RECORDS, CLASSES), {}))


def test_every_column_is_documented():
    assert documented("`frames.csv`") == [*results.COLUMNS, "<stage>_s"]


def test_every_field_of_a_record_is_documented():
    assert documented("`records.jsonl`") == [field.name for field in dataclasses.fields(FrameRecord)]
    assert documented("`identities` of a record") == [one.name for one in dataclasses.fields(FrameIdentities)]
    assert documented("`truth` of a record") == [field.name for field in dataclasses.fields(TruthScores)]


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
        "43 (43 pixels), 42 (42 pixels), 41 (41 pixels) and 1 more."
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
    with pytest.raises(EvaluationError, match=r"line 2 of .*records.jsonl is no record"):
        finalize(folder)
