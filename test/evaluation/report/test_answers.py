"""What the page says first, on a made-up run whose truth is known."""

from dataclasses import replace

import pytest

from activesam_ros.evaluation.report.answers import NO_CLASS, answers, confused, pixel_verdicts
from activesam_ros.evaluation.summary import summarise


def test_the_three_questions_are_answered_with_numbers(made_up_run):
    run = made_up_run()
    right, cost, wrong = answers(run.results, run.records)
    first = run.results.summary("active")
    assert right.figure == f"{100 * first.truth.mean_iou:.1f} %" and right.unit == "mIoU"
    full = run.results.summary("full-vocabulary")
    assert full.truth.mean_iou == 1.0
    lost = 100 * (1 - first.truth.mean_iou)
    assert cost.figure == f"−{lost:.1f}" and "full-vocabulary" in cost.unit
    assert "49 % of the computation" in " ".join(cost.sentences)
    assert "75.0 % of the classes" in " ".join(cost.sentences), "the person is one of four, and never decoded"
    assert wrong.figure == "0 %" and "person" in wrong.unit
    assert "100 % of the pixels of person are labelled road." in wrong.sentences
    assert "person was not decoded in 29 of the 29 images that show it." in wrong.sentences
    assert "1 of 30 frames could not be labelled or scored." in wrong.sentences


def test_the_pixels_add_up_to_all_that_count(made_up_run):
    run = made_up_run()
    own = [record for record in run.records if record.method == "active" and not record.corruption]
    shares = {entry.name: entry.labels for entry in pixel_verdicts(own)}
    assert sum(shares.values()) == pytest.approx(1)
    truth = run.results.summary("active").truth
    assert shares["right"] == pytest.approx(truth.pixel_accuracy)
    assert shares["class was not decoded"] == pytest.approx(truth.active_set.lost_share)


def test_without_a_method_that_decodes_every_class_the_gain_is_not_claimed(made_up_run):
    run = made_up_run()
    alone = [record for record in run.records if record.method == "active"]
    _, cost, _ = answers(summarise(alone, run.results.classes), alone)
    assert "missed classes" in cost.unit and "--compare full-vocabulary" in " ".join(cost.sentences)


def test_where_nothing_was_pruned_the_page_says_so(made_up_run):
    run = made_up_run()
    whole = [
        replace(record, timings={name: value for name, value in record.timings.items() if name != "preview"})
        for record in run.records
        if record.method == "active"
    ]
    _, cost, _ = answers(summarise(whole, run.results.classes), whole)
    assert "Nothing was pruned" in cost.sentences[0]


def test_without_truth_agreement_is_told_and_not_called_right(made_up_run):
    run = made_up_run(with_truth=False)
    right, cost, wrong = answers(run.results, run.records)
    assert right.figure == "Not known" and "not what is right" in " ".join(right.sentences)
    agreement = run.results.summary("active").agreement
    assert cost.figure == f"{100 * (1 - agreement):.1f} %"
    assert wrong.figure == ""


def test_nothing_labelled_is_nothing_answered(made_up_run):
    run = made_up_run()
    failed = [record for record in run.records if record.error]
    assert answers(summarise(failed, run.results.classes), failed) == ()
    assert answers(summarise([]), []) == ()


def test_mix_ups_are_shares_of_the_true_class(made_up_run):
    run = made_up_run()
    pairs = confused(run.results.summary("active").truth, run.results.classes)
    assert (pairs[0].truth, pairs[0].label, pairs[0].of_class) == ("person", "road", 1.0)
    assert (pairs[1].truth, pairs[1].label) == ("sky", NO_CLASS)
