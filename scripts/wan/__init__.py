"""Random networks of Wan 2.1 in the layout that its repository has them in."""
