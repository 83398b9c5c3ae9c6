"""What each replica of the engine serves: the rows, who leaves a full one, and the names of failures."""
