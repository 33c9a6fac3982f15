"""Data sets of images and label files as recordings with ground truth."""
