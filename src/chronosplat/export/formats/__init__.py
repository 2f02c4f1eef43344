"""One file per format. Each registers itself (``export/registry.py``)."""
