"""Numbers of records as rows of tables, every column under one name."""
