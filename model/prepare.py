"""`python -m model.prepare SRC DST`: the public name of the command in `model.data.prepare`."""

from __future__ import annotations

from model.data.prepare import main

if __name__ == "__main__":
    raise SystemExit(main())
