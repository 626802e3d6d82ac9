"""Readers of data sets: each turns a folder or a list into records, without reading a pixel; see `catalogue`."""
