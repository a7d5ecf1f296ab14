"""Media: videos and pictures in files. The only place that knows ffmpeg."""
