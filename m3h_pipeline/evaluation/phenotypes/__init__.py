"""Phenotypes of final models on the test part: a map of them, and what they are worth in the inputs."""
