"""A filter that keeps a policy out of states from which failure cannot be avoided, learned inside a world model."""
