"""The test against `transformers serve` needs the package openai, which only that server uses; without it the
file is not collected.
"""

from __future__ import annotations

import importlib.util

collect_ignore = [] if importlib.util.find_spec("openai") else ["intent/ask/test_endpoint_serve.py"]
