"""The page that plays a scene: one HTML file with its data, in a browser or a notebook."""

from chronosplat.viewer.page import Page, show, write_page
