"""Tests of what is measured beyond the score."""
