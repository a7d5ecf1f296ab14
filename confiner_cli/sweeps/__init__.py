"""A sweep and its jobs: the folder, what is written down of it, and who makes a job."""
