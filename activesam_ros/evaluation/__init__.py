"""Measuring label images against ground truth."""
