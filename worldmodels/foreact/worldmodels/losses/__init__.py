"""What models that imagine are fitted to."""
