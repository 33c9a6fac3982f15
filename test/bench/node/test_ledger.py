"""The books of what was sent and what came back."""

import threading

from activesam_ros.benchmarks.node.ledger import Ledger, Traffic


def test_frames_before_a_labelled_one_are_done():
    ledger = Ledger(["front"])
    for stamp, good in ((10, True), (20, False), (30, True), (40, True)):
        ledger.sent("front", stamp, stamp / 10, good)
    assert ledger.traffic("front") == Traffic(sent=4, bad=1, labelled=0, strange=0, on_the_way=4)
    ledger.labelled("front", 30, 5.0)
    assert ledger.traffic("front") == Traffic(sent=4, bad=1, labelled=1, strange=0, on_the_way=1)
    assert ledger.latencies() == [2.0]


def test_labels_of_no_frame_on_its_way_are_strange():
    ledger = Ledger(["front"])
    ledger.sent("front", 10, 0.0)
    ledger.sent("front", 20, 0.0, good=False)
    for stamp in (99, 20, 10, 10):
        ledger.labelled("front", stamp, 1.0)
    assert ledger.traffic("front") == Traffic(sent=2, bad=1, labelled=4, strange=3, on_the_way=1)


def test_cameras_have_books_of_their_own_and_latencies_keep_the_order_of_sending():
    ledger = Ledger(["front", "rear"])
    ledger.sent("rear", 10, 0.0)
    ledger.sent("front", 10, 0.0)
    ledger.sent("rear", 20, 0.0)
    ledger.labelled("front", 10, 2.0)
    ledger.labelled("rear", 10, 1.0)
    ledger.labelled("rear", 20, 3.0)
    assert ledger.latencies() == [1.0, 2.0, 3.0]
    assert ledger.latencies("rear") == [1.0, 3.0]


def test_a_player_waits_for_room():
    ledger = Ledger(["front"])
    for stamp in (1, 2, 3):
        ledger.sent("front", stamp, 0.0)
    assert ledger.wait_for("front", 3, 0.0)
    assert not ledger.wait_for("front", 2, 0.0)
    answering = threading.Timer(0.05, ledger.labelled, ("front", 2, 1.0))
    answering.start()
    assert ledger.wait_for("front", 1, 60.0)
    answering.join()
