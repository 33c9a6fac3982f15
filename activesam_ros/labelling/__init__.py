"""Label recordings and image folders, resumably, and write the labels as recordings and data sets."""
