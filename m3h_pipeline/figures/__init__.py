"""The study's figures: one module each, one shared style, and the registry that lists them."""
