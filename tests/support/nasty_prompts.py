"""Prompts that Hydra, OmegaConf, YAML or a shell would read as something else."""

NASTY = [
    "true", "null", "off", "2049", "1e3", "0x10", "???", "???,???", "~", "-m", "a=b", "prompt=a",
    "a,b", "[a,b]", "{a:b}", "'single'", '"double"', "\"it's\"", "'", '"', "\\", "\\\\", "a\\",
    "\\'", '\\"', "a\\ b", "a\\,b", "\\n", "${oc.env:HOME}", "\\${a}", "\\\\${a}", "${", "$", "${a",
    "}", "${${a}}", "${now:%Y}", "range(1,5)", "choice(a,b)", "glob(*)", "(a", ")", "a: b", "# a",
    "a #b", "&a", "*a", "!a", "%a", "@a", "`a`", "- a", "<a>", ";a", "|", "?", "a  b", "a\nb",
    "a\u2028b", "💛", "שלום עולם", "\u202ea", "e\u0301", "ß,ſ", "\ufeffa", "\u200b",
]  # fmt: skip
