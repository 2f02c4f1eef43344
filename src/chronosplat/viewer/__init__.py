"""Viewers: a page in one file, and a live server."""
