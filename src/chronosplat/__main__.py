"""``python -m chronosplat``: the command line."""

from chronosplat.cli import entry

if __name__ == "__main__":
    entry()
