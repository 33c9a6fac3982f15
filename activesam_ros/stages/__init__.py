"""The steps of the two-stage method."""
