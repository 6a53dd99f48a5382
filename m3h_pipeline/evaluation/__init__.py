"""The test part, opened once: final fits, paired differences, calibration, survival."""
