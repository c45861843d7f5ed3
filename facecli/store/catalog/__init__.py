"""The SQLite catalogue: tables, connections and queries."""
