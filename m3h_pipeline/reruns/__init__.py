"""What of a study would run again, and why: in words, and on one screen (`m3h explain-rerun`)."""
