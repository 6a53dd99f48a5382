"""What is predicted: task definitions and their criteria, labels of a cohort, which can be evaluated."""
