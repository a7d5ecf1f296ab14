"""The gallery: runs on disk in, one static page out."""
