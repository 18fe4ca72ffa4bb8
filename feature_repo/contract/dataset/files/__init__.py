"""Files of a dataset folder as blocks of rows with line numbers. Knows no column's meaning."""
