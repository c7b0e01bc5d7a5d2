"""What may be wrong with a recording, a file for each kind of fault."""
