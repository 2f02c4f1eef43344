"""One file per layout. Each registers itself (``captures/registry.py``)."""
