"""Benchmarks: `python -m activesam_ros.bench NAME`."""
