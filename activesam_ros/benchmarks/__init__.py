"""Benchmarks of the library and of the node; each has options, a measurement, a result and a Markdown report."""
