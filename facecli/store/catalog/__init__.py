"""The SQLite catalogue: its tables, connections and questions."""
