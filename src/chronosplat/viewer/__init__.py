"""Viewers: a page in one file, and a live server."""

from chronosplat.viewer.page import Page, show, write_page
