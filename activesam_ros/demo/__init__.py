"""The demonstration: a replayed drive through Toy Town, segmented by a real node."""
