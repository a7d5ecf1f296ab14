"""Measures of a finished video that need no reference and no model. The only place for OpenCV."""
