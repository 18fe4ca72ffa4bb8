"""What is computed for items: vectors and popularity."""
