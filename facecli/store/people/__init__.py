"""People in the catalogue: the log of decisions, and the groups that are derived from faces and decisions."""
