"""Metrics under weights, the bootstrap over patients, intervals and tests."""
