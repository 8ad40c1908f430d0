"""``python -m twogate`` is the ``twogate`` command."""

from twogate.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
