"""The node `activesam` whose model misbehaves when a test says so.

It is the real `activesam_ros.ros.main.main`, on the real model, in a process of its own. Four functions get a wrapper:
`load_segmenter` ("load"), which loads the model, `FusedPromptHeads.presence` and `FusedPromptHeads.decode` ("presence"
and "decode"), which ask the model about a bucket of prompts, and `ActiveSegmenter.encode` ("encode"), which embeds a
vocabulary. At every call the wrapper reads the file that $ACTIVESAM_FAULTS names, does what it says, if anything, and
calls the function. Each time it does something it prints "fault: WHAT at WHERE", so that a test can wait for it. All
else is as it is.

The file is JSON, see `Faults.order`:

    {"number": 3, "at": "decode", "do": "raise", "times": 1, "above": 0, "seconds": 0.0}

"raise" raises a RuntimeError, "run out of memory" what torch raises then, "wait" waits so many seconds or until the
file says something else. Each is done for buckets of more than `above` prompts, at most `times` times for one number.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from activesam_ros.ros import worker
from activesam_ros.ros.main import main

_done: Counter[int] = Counter()
_lock = threading.Lock()


def _order() -> dict:
    return json.loads(Path(os.environ["ACTIVESAM_FAULTS"]).read_text() or "{}")


def _misbehave(where: str, bucket: int) -> None:
    order = _order()
    if order.get("at") != where or bucket <= order["above"]:
        return
    number = order["number"]
    with _lock:
        if _done[number] >= order["times"]:
            return
        _done[number] += 1
    what = order["do"]
    print(f"fault: {what} at {where}", flush=True)
    if what == "raise":
        raise RuntimeError("the model raised, since a test told it to")
    if what == "run out of memory":
        import torch

        raise torch.OutOfMemoryError("a test says that memory is out")
    import torch

    # Inside torch, as a long forward pass is: a process that ends without regard for that aborts.
    busy = torch.ones(700, 700)
    deadline = time.monotonic() + order["seconds"]
    while time.monotonic() < deadline and _order().get("number") == number:
        torch.mm(busy, busy)


def _wrap(owner: type, name: str, bucket) -> None:
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def wrapped(self, *given):
        _misbehave(name, bucket(*given))
        return inner(self, *given)

    setattr(owner, name, wrapped)


def _wrap_buckets(owner: type, name: str) -> None:
    """Misbehave when a bucket of several is taken."""
    inner = getattr(owner, name)

    def taken(buckets):
        for prompts in buckets:
            _misbehave(name, len(prompts.tokens))
            yield prompts

    @functools.wraps(inner)
    def wrapped(self, image, buckets, *more):
        return inner(self, image, taken(buckets), *more)

    setattr(owner, name, wrapped)


def _load(*given):
    # Here, and not at the top: importing torch takes seconds, and the node itself does it in this place.
    from activesam_ros.model.fused.heads import FusedPromptHeads
    from activesam_ros.segmenter import ActiveSegmenter

    if not hasattr(FusedPromptHeads.decode, "__wrapped__"):
        _wrap(FusedPromptHeads, "presence", lambda image, prompts: len(prompts.tokens))
        _wrap_buckets(FusedPromptHeads, "decode")
        _wrap(ActiveSegmenter, "encode", lambda vocabulary: len(vocabulary))
    _misbehave("load", 1)
    return _real_load(*given)


_real_load = worker.load_segmenter

if __name__ == "__main__":
    worker.load_segmenter = _load
    sys.exit(main())
