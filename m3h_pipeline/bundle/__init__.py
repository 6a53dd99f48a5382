"""A finished study as a folder that is carried to where patients are: its models, and what they need."""
