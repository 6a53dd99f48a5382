"""Embeddings of notes and images by pretrained models whose weights lie on this machine."""
