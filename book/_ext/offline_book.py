"""Sphinx extension for a book without a network: everything that a page loads lies in the built folder.

- MathJax comes from the package `sphinx-mathjax-offline`, and plotly.js from plotly; the site has each once.
- Scripts that Jupyter Book would fetch from elsewhere (thebe, require.js, the widget manager) are removed.
- Fontawesome's script (1.5 MB) is removed: the theme's styles draw the same icons from a font.
- Names and roles that the theme gets wrong for readers who listen to a page are put right.
- Every page carries a content security policy, so that a text which became markup by mistake could neither
  run nor ask another host for anything.
"""

import base64
import hashlib
import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.fileutil import copy_asset

# what tex-mml-svg.js may ask for later: TeX's rarer packages; SVG output needs no fonts
MATHJAX = "tex-mml-svg.js"
MATHJAX_PARTS = (MATHJAX, "input/tex/extensions")
REMOTE = re.compile(r"^(https?:)?//")
POLICY = (
    "default-src 'none'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'"
)
"""What a page may load and run. Styles may be inline: tables and plotly.js set them, and they cannot run."""
POLICY_TAG = re.compile(r'\s*<meta http-equiv="Content-Security-Policy"[^>]*>')
CHARSET_TAG = re.compile(r'<meta charset="[^"]*" ?/?>')
INLINE = re.compile(r"<script(?![^>]*\ssrc=)([^>]*)>(.*?)</script>", re.DOTALL)
UNUSED = re.compile(
    r'\s*<script[^>]*\ssrc="[^"]*/fontawesome\.js[^"]*"[^>]*></script>'
    r'|\s*<script type="text/x-thebe-config">.*?</script>|\s*<script>kernelName = [^<]*</script>',
    re.DOTALL,
)

# the theme's markup, and what a screen reader makes sense of (axe-core names these)
NAMES_AND_ROLES = (
    (re.compile(r'(<button class="btn search-button-field[^>]*) aria-label="Search"'), r"\1"),  # has a text
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),  # so has a folded cell
    (re.compile(r'role="doc-biblioentry"'), 'role="listitem"'),  # in a list of references
    (
        re.compile(r'<div id="pst-primary-sidebar" class="([^"]*)">'),
        r'<div id="pst-primary-sidebar" class="\1" role="complementary" aria-label="Contents of the book">',
    ),
)


def use_local_files(app: Sphinx, config: Config) -> None:
    """Point Sphinx at the files that `copy_local_files` will put into the site."""
    config.mathjax_path = f"mathjax/{MATHJAX}"
    config.nb_ipywidgets_js = {}
    config.html_context["default_mode"] = "auto"  # without it the theme reports an error to the console
    # a table of theme options in _config.yml would replace those that Jupyter Book computes: set single keys
    config.html_theme_options.update(
        {
            "use_download_button": False,  # it would offer the executed notebook, whose name is the source's
            "use_fullscreen_button": False,
            "show_toc_level": 2,
            "navigation_with_keys": False,
        }
    )


def drop_remote_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Take scripts and styles of other hosts off a page, and thebe's inline settings with them."""
    for kind in ("script_files", "css_files"):
        context[kind] = [entry for entry in context.get(kind, []) if not _is_foreign(entry)]


def _is_foreign(entry: Any) -> bool:
    """Tell whether a script or style would be fetched from another host, or belongs to thebe."""
    name = str(getattr(entry, "filename", entry) or "")
    body = str(getattr(entry, "attributes", {}).get("body", "") or "")
    return bool(REMOTE.match(name)) or "thebe" in name or "thebe" in body or "require.js" in name


def copy_local_files(app: Sphinx, failure: Exception | None) -> None:
    """Put MathJax and plotly.js into the site.

    Every page would load them if they lay in the sources' `_static`.
    """
    if failure is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("sphinx-mathjax-offline is not installed: `make book` installs it")
    source = Path(spec.origin).parent / "static" / "mathjax"
    for part in MATHJAX_PARTS:
        folder = Path(part) if (source / part).is_dir() else Path(part).parent
        copy_asset(str(source / part), str(static / "mathjax" / folder))
    plotly = static / "plotly" / "plotly.min.js"
    plotly.parent.mkdir(parents=True, exist_ok=True)
    plotly.write_text(get_plotlyjs(), encoding="utf-8")
    shutil.rmtree(static / "sphinx-thebe", ignore_errors=True)


def guarded(page: str, *, whole: bool = False) -> str:
    """Return a page's HTML with the policy, and without the theme's scripts that the book does not need.

    The theme's short scripts stand in the page's head and are allowed by their hashes. A script in the text
    of the page has no hash there and does not run; with `whole`, for a page that holds no text of ours, it
    has. Raises ValueError for a page whose head does not say its encoding, after which the policy is put.
    """
    page = POLICY_TAG.sub("", UNUSED.sub("", page))
    allowed = page if whole else page.partition("</head>")[0]
    bodies = dict.fromkeys(body for kind, body in INLINE.findall(allowed) if "json" not in kind)
    digests = (base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies)
    policy = POLICY.format(hashes="".join(f" 'sha256-{digest}'" for digest in digests))
    tag = f'\n    <meta http-equiv="Content-Security-Policy" content="{policy}" />'
    charset = CHARSET_TAG.search(page)
    if charset is None:
        raise ValueError("a page does not say its encoding: there is no place for its security policy")
    return page[: charset.end()] + tag + page[charset.end() :]


def audible(page: str) -> str:
    """Return a page's HTML with the theme's names and roles put right; done twice it changes nothing more."""
    for wrong, right in NAMES_AND_ROLES:
        page = wrong.sub(right, page)
    return page


def guard_pages(app: Sphinx, failure: Exception | None) -> None:
    """Put the security policy on every built page, those that Sphinx left as they were included."""
    if failure is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        is_page = "<head" in text  # and not Jupyter Book's redirection, or a part of a template
        if is_page and "_static" not in path.relative_to(app.outdir).parts:
            path.write_text(guarded(audible(text), whole=path.name == "search.html"), encoding="utf-8")
    for path in (Path(app.outdir) / "_static" / "scripts").glob("fontawesome.js*"):
        path.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks."""
    app.connect("config-inited", use_local_files, priority=900)
    app.connect("html-page-context", drop_remote_scripts, priority=900)
    app.connect("build-finished", copy_local_files)
    app.connect("build-finished", guard_pages, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
