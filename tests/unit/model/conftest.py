"""A small trained model that several test files share, and the folder of made-up data on the path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hypothesis import settings

# the first call of a kernel compiles it, which takes as long as it takes
settings.register_profile("kernels", deadline=None)
settings.load_profile("kernels")
