"""What two finished studies differ by: data, settings, scores on the same patients (`m3h compare`)."""
