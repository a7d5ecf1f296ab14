"""What a GPU makes of confiner at published sizes: networks without files, measurements, tables."""
