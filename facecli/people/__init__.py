"""Sort the faces of an index into people: groups that follow from the faces and the user's decisions alone."""
