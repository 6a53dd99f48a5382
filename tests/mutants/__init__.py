"""Lines that decide numbers, each changed in a way that a test must notice."""
