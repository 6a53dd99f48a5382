"""A study drafted from a user's tables: what their columns seem to be, and what is doubtful (`m3h init`)."""
