"""How the study was done: methods in full, TRIPOD+AI, and how to make it again."""
