"""The report of a study: one HTML file that answers, with a page for every outcome."""
