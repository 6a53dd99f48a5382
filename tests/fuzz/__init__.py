"""Damaged inputs, by the thousand: whatever a file or a configuration holds, people read a sentence."""
