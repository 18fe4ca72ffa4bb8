"""The rules by which rows of clicks and of items are taken or refused. Knows nothing of files."""
