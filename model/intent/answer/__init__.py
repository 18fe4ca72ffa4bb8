"""Reading what a language model wrote: phrases, reasoning, the name in it."""
