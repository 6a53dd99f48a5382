"""What the rules of the workflow ask of the package: files, settings, code, memory and time of each job."""
