"""Image messages and files to RGB."""
