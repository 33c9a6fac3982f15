"""The ROS side of the package: parameters, lifecycle, cameras, messages, diagnostics. It knows no tensors.

Thread rule, in one place. There are three kinds of threads:

- The executor's runs every callback and never waits for the model, except that a lifecycle transition waits in
  slices of a tenth of a second (`ManagedNode.wait_until`), goes on with heartbeat and diagnostics meanwhile, and
  gives up when the process is ended. Subscriptions are made and dropped, and parameters are read and written, in
  this thread alone.
- One worker (`worker.py`) per loaded model owns its vision side, and publishes results. It ends with its model.
- Short-lived ones encode words: at most one for a change of the stream's (`changes.py`), and one for those that calls
  of `~/segment` bring along (`call_answering.py`). The text encoder is asked by one of them at a time.

They meet in `Inbox`, `CallQueue`, `ChangeDesk`, `Latency`, `InfoCache` and `ReasonThrottle`, which lock for
themselves, and in the queue of what came of changes in `LiveParameters`, to which others append and which the
executor's empties. All else that one thread reads of another is a single attribute that is replaced as a whole:
what an `Engine` tells of itself (`served`, `error`, `is_loaded`, `prompt_cache`, whether it was abandoned),
`Worker.task`, `ChangeDesk.since`, `LiveParameters.policy`, whether a `Camera` is active, the last error of
`NodeReport`, the node's exit code, the legend that was published last, and the bucket size in force; or an event
that is set once, such as that the node or its worker is to end. The main thread only waits for signals
(`activesam_ros.ros.main`).
"""
