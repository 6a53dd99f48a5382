"""The test part, opened once: final fits, references, paired differences, calibration, survival."""
