"""Where tables and reports lie: on a disk or behind a URL, read and written whole."""
