"""The ROS side of the package: parameters, lifecycle, cameras, messages, diagnostics. It knows no tensors.

Thread rule, in one place. There are three kinds of threads:

- The executor's runs every callback and never waits for the model, except that a lifecycle transition waits in
  slices of a tenth of a second (`ManagedNode.wait_until`), goes on with heartbeat and diagnostics meanwhile, and
  gives up when the process is ended. It alone subscribes, and reads and writes parameters.
- One worker (`worker.py`) per loaded model owns its vision side, and publishes results. It ends with its model.
- Short-lived ones encode classes: at most one for a change of the stream's (`ConfigurationLoader`), and one for those
  that calls of `~/segment` bring along (`CallEncoder`). The text encoder serves one of them at a time.

They meet in objects that lock for themselves: `FrameQueue`, `CallQueue`, `ConfigurationLoader`, `CallEncoder`,
`Latency`, `InfoCache`, `Throttle` and the legend of `LabelInfoPublisher`; and in the outcomes of changes in
`LiveParameters`, to which others append and which the executor's thread empties. All else that one thread reads of
another is an event, or a single attribute that is replaced as a whole, such as `Worker.served` and `Worker.task`,
`LiveParameters.policy`, whether a `Camera` is active, `ErrorLog.last` and the node's exit code. The main thread only
waits for signals.
"""
