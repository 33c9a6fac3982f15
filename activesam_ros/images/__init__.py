"""Image messages, files, arrays and tensors to RGB."""
