"""For the gallery's tests: run folders, written at once and without a network; hostile prompts."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from confiner_cli.media.contact_sheet import CELL, LINE, MARGIN

CONFIG = {
    "prompt": "a red heart", "seed": 1, "num_frames": 16, "height": 64, "width": 64, "fps": 8,
    "experts": {"name": "tiny", "description": "small"},
    "scheduler": {"name": "confiner_9", "refinement": {"te": 100}},
    "output": {"dir": None},
}  # fmt: skip
FACTS = {
    "status": "done", "prompt": "a red heart", "negative_prompt": "", "seed": 1, "config": CONFIG,
    "started": "2026-01-02T03:04:05.678+00:00",
    "evaluations": {"control": 4, "spatial": 10, "temporal": 5},
    "passes": {"control": 4, "spatial": 20, "temporal": 5}, "seconds": {"load": 0.1, "total": 2.5},
}  # fmt: skip
FILES = ("video.mp4", "structure.mp4", "contact_sheet.png")


def write_run(
    folder: Path, files: tuple[str, ...] = FILES, overrides: tuple[str, ...] = (), **facts
) -> Path:
    """Write what a run leaves, `config` laid over the usual one; its videos are no videos."""
    folder.mkdir(parents=True)
    config = (
        CONFIG
        | facts.pop("config", {})
        | {key: facts[key] for key in ("prompt", "seed") if key in facts}
    )
    (folder / "run.json").write_text(
        json.dumps(FACTS | facts | {"config": config}), encoding="utf-8"
    )
    for name in files:
        (folder / name).write_bytes(b"not a video")
    if "contact_sheet.png" in files:
        step = CELL + MARGIN + LINE
        size = (MARGIN + 8 * (CELL + MARGIN), 2 * MARGIN + LINE + 2 * step)
        Image.new("RGB", size).save(folder / "contact_sheet.png")
    if overrides:
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "overrides.yaml").write_text(
            json.dumps(overrides, ensure_ascii=False), encoding="utf-8"
        )
    return folder


MARKUP = [
    "<script>alert(1)</script>", "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<svg><script>alert(1)</script></svg>",
    "</style><script>alert(1)</script>", "</title><script>alert(1)</script>",
    "</noscript><script>alert(1)</script>", "<noscript><p title='</noscript><img>'>", "<!--",
    "--><script>alert(1)</script>", "<!--<script>", "<![CDATA[<b>]]>", "<?php echo 1 ?>",
    "</h2></article>", "<iframe src=javascript:alert(1)></iframe>",
    "<a href='javascript:alert(1)'>x</a>", "<base href=//evil.example/>",
    "<meta http-equiv=refresh content=0>", "<link rel=stylesheet href=//evil.example/x.css>",
    "<form action=//evil.example>", "<object data=x></object>", "<embed src=x>",
    "<video src=x autoplay onplay=alert(1)>", "<details open ontoggle=alert(1)>",
    "<body onload=alert(1)>", "<math><mtext></mtext></math>", "<template><b>", "<xmp><b>",
    "<plaintext>", "<textarea><b>", "<select><option>", "&lt;script&gt;", "&#60;b&#62;",
    "&amp;lt;b&amp;gt;", "<b", "<", ">", "<>", "</", "<\x00b>", "＜b＞",
]  # fmt: skip
ATTRIBUTES = [
    '" onmouseover="alert(1)', "' onmouseover='alert(1)", '"><script>alert(1)</script>', "'><b>",
    '" autofocus onfocus=alert(1) x="', "` onclick=alert(1)", 'x" style="display:none',
    "javascript:alert(1)", "data:text/html,<b>", "\\\" onx=1", '\\"', "\\", "=", "\" \" '",
]  # fmt: skip
TEMPLATES = [
    "{{7*7}}", "{% raw %}", "{{ ''.__class__ }}", "{# gone #}", "${7*7}", "${oc.env:HOME}",
    "#{7*7}", "<%= 7*7 %>", "{{", "}}", "{%", "%s %d %(x)s", "{0}", "{x}", "$HOME `id` $(id)",
]  # fmt: skip
LETTERS = [
    "\u2028", "a\u2028b\u2029c", "\u202egnorts\u202c", "\u2066\u2069", "שלום עולם", "مرحبا بالعالم",
    "日本語の猫", "🦊🔥👩‍👩‍👧", "e\u0301", "\u200b", "\ufeff", "a\u0000b", "\u0007", "a\nb\r\nc",
    "\ttab", "\x1b[31mred", "Z̸̡a̷l̵g̶o̵", "\ud800", "a\udfffb", "İ", "𝕳", "x" * 10_000,
    "word " * 2_000, "\n" * 500, " ", "null", "true", "undefined", "__proto__", "constructor",
    "NaN", "-1", "0", "1e999",
]  # fmt: skip


def hostile_prompts() -> list[str]:
    """Two hundred texts that a page must show as they are."""
    single = [*MARKUP, *ATTRIBUTES, *TEMPLATES, *LETTERS]
    mixed = [
        f"{first} a red heart {second}"
        for first, second in zip(MARKUP * 3, (ATTRIBUTES + TEMPLATES) * 4, strict=False)
    ]
    return [*single, *mixed][:200]
