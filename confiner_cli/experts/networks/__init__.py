"""Networks that no library has: LaVie's UNet."""
