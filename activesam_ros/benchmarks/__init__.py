"""Benchmarks: `activesam-bench NAME`."""
