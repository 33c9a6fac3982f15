"""Loading SAM 3 and running its parts."""
