"""The one command: `intentstore`, with the verbs of all parts, and `init` and `doctor` beside them."""
