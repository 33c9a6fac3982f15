"""The ROS side of the package: parameters, messages, hand-over of frames, diagnostics. It knows no tensors.

Thread rule, in one place: the executor thread runs every callback and never waits for the model; one worker
thread (`worker.py`) owns the segmenter and publishes; short-lived threads (`changes.py`) own the text encoder
while new words are encoded. They meet only in `FrameSlot`, `ChangeDesk` and `Tally`, which lock for
themselves.
"""
