"""Parameters: their declaration, the files that set them, and the vocabulary and settings that follow."""
