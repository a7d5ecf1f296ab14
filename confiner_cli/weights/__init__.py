"""Weights: where models are, what is missing of them, whether files are whole.

No torch but in `tensors`.
"""
