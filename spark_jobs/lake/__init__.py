"""Delta tables: read, merged, changed rows, the log, errors."""
