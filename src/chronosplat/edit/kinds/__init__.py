"""The edits, one or a few related ones in each file."""
