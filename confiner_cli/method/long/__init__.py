"""ConFiner-Long: what makes one long video of many segments (section 3.4 of the paper)."""
