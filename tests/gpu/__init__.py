"""What a card computes, and how fast: ``make gpu``, on a machine that has PyTorch and little else.

``python -m tests.gpu --help`` says how it is called, docs/gpu.md what came out.
"""
