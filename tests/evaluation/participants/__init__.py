"""Tests of who is in the study."""
