"""Benchmarks of the node: the real process, over DDS."""
