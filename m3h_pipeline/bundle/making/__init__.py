"""What makes a bundle of a finished study."""
