import logging

from activesam_ros.ros.logs import RosLogHandler


class Recorder:
    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        return lambda text: self.lines.append((level, text))


def test_each_level_of_the_library_has_its_counterpart():
    recorder = Recorder()
    handler = RosLogHandler(recorder)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        handler.emit(logging.LogRecord("activesam_ros.x", level, "", 0, "%d words", (3,), None))
    assert recorder.lines == [(level, "3 words") for level in ("debug", "info", "warning", "error", "fatal")]
