"""How much each task helps or harms each other one: contexts, estimates, uncertainty."""
