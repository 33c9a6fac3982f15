"""What labelling an image costs: counted work, and measured time and memory."""
