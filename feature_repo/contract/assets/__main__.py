"""`python -m feature_repo.contract.assets DIR`: fetches everything."""

from __future__ import annotations

import os
import sys

from feature_repo.contract.assets.fetch import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ))
