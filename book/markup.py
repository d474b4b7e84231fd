"""Markup that would run or fetch in a reader's browser, judged by elements and attributes, not by words.

A dialogue may say `javascript:` or `one = 1`; as text on a page that is harmless. An element that runs, an
attribute that a browser executes, and an address of another host are not, wherever they came from.
"""

import re
from collections.abc import Iterable
from html.parser import HTMLParser

RUNNING = frozenset({"script", "iframe", "frame", "object", "embed", "applet", "portal", "base"})
REFRESH = frozenset({"refresh", "set-cookie"})  # of <meta http-equiv>
ANIMATED = frozenset({"animate", "set"})  # in SVG they may change an address after the page is loaded
ADDRESSES = frozenset(
    "href src action formaction data poster background ping manifest codebase xlink:href".split()
)
LOADED = frozenset({"src", "srcset", "imagesrcset", "poster", "data", "background"})  # without a click
FOLLOWED = frozenset({"a", "area", "blockquote", "q", "del", "ins"})  # a form would carry texts away
RAW = frozenset(
    {"style", "textarea", "title", "noscript", "noembed", "noframes", "xmp", "template", "plaintext"}
)
# a browser ends such an element at its end tag, wherever that stands; this parser reads it as a quoted value
RAW_ENDS = re.compile(rf"</(?:{'|'.join(sorted(RAW | {'script'}))})", re.IGNORECASE)
# a browser leaves out what lies between, before it looks for a scheme
GAPS = re.compile(r"[\x00-\x20\x7f-\x9f\u200b-\u200f\u2028\u2029\ufeff]+")
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
RUNNING_SCHEMES = ("javascript:", "vbscript:", "livescript:")
SAFE_DATA = re.compile(r"data:(image/(?!svg)|text/(csv|plain)[;,])", re.IGNORECASE)
FOREIGN_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"]?)\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
# an element that a text leaves open takes its end from what follows on the page
ENDINGS = ("", ">", '">', "'>")
DATA_BLOCKS = frozenset({"application/json"})  # a <script> that holds data: no browser runs it


def markup_faults(text: str, *, own_scripts: bool = False) -> list[str]:
    """Return what in an HTML text would run or load something, without repetition; nothing for mere words.

    `own_scripts` allows scripts and blocks of JSON, as a whole page of the book has; a script of another host
    is named all the same.
    """
    found: list[str] = []
    for ending in ENDINGS:
        reader = _Reader(own_scripts)
        reader.feed(text + ending)
        reader.close()
        found += reader.faults
        if not re.search(r"<[^<>]*$", text):  # nothing is left open
            break
    return list(dict.fromkeys(found))


class _Reader(HTMLParser):
    """Collects the faults of elements, and of markup that hides in comments and in raw texts."""

    def __init__(self, own_scripts: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.own_scripts = own_scripts
        self.faults: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = [(name.lower(), value or "") for name, value in attrs]
        self.faults += _element_faults(tag, dict(values), self.own_scripts)
        for name, value in values:
            self.faults += _attribute_faults(tag, name, value)
        if RAW_ENDS.search((self.get_starttag_text() or "")[1:]):
            self.faults.append(f"an attribute of <{tag}> that ends a text element")
        self._inside = tag if tag in RAW else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style" and FOREIGN_STYLE.search(data):
            self.faults.append("a style that loads from another host")

    def _hidden(self, text: str) -> None:
        """Read what a browser may take for markup, though this parser does not."""
        if "<" in text and not self.own_scripts:
            self.faults += markup_faults(text)

    def handle_comment(self, data: str) -> None:
        self._hidden(data)

    def handle_decl(self, decl: str) -> None:
        self._hidden(decl)

    def unknown_decl(self, data: str) -> None:
        self._hidden(data)

    def handle_pi(self, data: str) -> None:
        self._hidden(data)


def _element_faults(tag: str, values: dict[str, str], own_scripts: bool) -> Iterable[str]:
    """Return the faults of an element by its name."""
    local = tag.rpartition(":")[2]
    is_own = local == "script" and own_scripts
    if is_own and values.get("type", "").strip().lower() in DATA_BLOCKS:
        return []
    if local in RUNNING and not is_own:
        return [f"an element <{local}>"]
    if local == "meta" and values.get("http-equiv", "").strip().lower() in REFRESH:
        return ["a <meta> that leads elsewhere"]
    target = values.get("attributename", "").strip().lower()
    if local in ANIMATED and (target.endswith("href") or target.startswith("on")):
        return [f"an element <{local}> that changes an address"]
    return []


def _attribute_faults(tag: str, name: str, value: str) -> Iterable[str]:
    """Return the fault of one attribute: a handler, a link that runs, or something from another host."""
    if re.match(r"on\w", name):
        return [f"a handler {name} of <{tag}>"]
    if name == "srcdoc":
        return [f"a page inside of <{tag}>"]
    if name == "style" and FOREIGN_STYLE.search(value):
        return [f"a style of <{tag}> that loads from another host"]
    if name in ("srcset", "imagesrcset"):
        return [fault for part in value.split(",") for fault in _address_faults(tag, name, part)]
    return _address_faults(tag, name, value) if name in ADDRESSES else []


def _address_faults(tag: str, name: str, value: str) -> list[str]:
    address = GAPS.sub("", value).lower()
    if address.startswith(RUNNING_SCHEMES):
        return [f"a link of <{tag}> that runs"]
    if address.startswith("data:") and not SAFE_DATA.match(address):
        return [f"a link of <{tag}> to a page of its own"]
    loads = name in LOADED or tag not in FOLLOWED
    is_foreign = address.replace("\\", "/").startswith("//") or SCHEME.match(address)
    if loads and is_foreign and not address.startswith("data:"):
        return [f"a {name} of <{tag}> from another host"]
    return []
