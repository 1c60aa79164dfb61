"""What a segment says: the rules that the rows of fields.toml name, and the data types and tables that they read."""
