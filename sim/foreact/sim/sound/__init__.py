"""What contacts in a simulation sound like: impacts from contact forces, and ringing modes of what was struck."""
