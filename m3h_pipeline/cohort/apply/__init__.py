"""New files into features by what a study's reading says alone: by name, each sample by itself."""
