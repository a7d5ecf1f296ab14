"""The commands, one file each, with a function `main(arguments) -> exit code`."""
