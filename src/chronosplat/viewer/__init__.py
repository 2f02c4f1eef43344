"""viewer.html: a scene and its player in one file that works offline."""

from chronosplat.viewer.page import Page, show, write_page
