"""What a GPU makes of confiner at published sizes: networks without weight files, measurements, tables."""
