"""Publish the book: run the study, execute the notebooks, refuse what failed, build the pages, check them.

    python book/publish.py --profile cpu --jobs 2 [--frozen] [--hh-rlhf FOLDER] [--workspace FOLDER]

Everything is made beside its place and moved there when it is whole, so that a failure leaves the last
published book as it was. Parts that have not changed are not made again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gate
import neutral
import render
from sphinx_external_toc.parsing import parse_toc_yaml

from afd_study.errors import AfdError
from afd_study.study.chapters import claims, heterogeneity_map

BOOK = Path(__file__).resolve().parent
CONFIG = render.ROOT / "_config.yml"
CHAPTERS = "chapters/"
INCLUDED = ("_ledger.txt", "_simple_rules.txt")  # written from frozen values, included by the front page


class PublishError(Exception):
    """The book could not be published; the text says what failed and where to look."""


@contextmanager
def part(name: str) -> Iterator[None]:
    """Print how long the enclosed part of the work took."""
    print(f"{name} ...", flush=True)
    started = time.perf_counter()
    yield
    print(f"{name}: {time.perf_counter() - started:.1f} s", flush=True)


def main() -> int:
    """Publish by the command line's settings; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--profile", default="cpu", help="the study's settings: cpu or smoke")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="steps and notebooks at once")
    parser.add_argument("--hh-rlhf", type=Path, help="folder with Anthropic's HH-RLHF files")
    parser.add_argument(
        "--frozen", action="store_true", help="read frozen tables instead of training anything"
    )
    parser.add_argument("--workspace", type=Path, default=BOOK, help="where pages are put together and built")
    options = parser.parse_args()
    try:
        publish(options.profile, options.jobs, options.hh_rlhf, options.workspace.resolve(), options.frozen)
    except (PublishError, render.RenderError) as failure:
        print(f"\nThe book was not published; an earlier one is untouched.\n{failure}", file=sys.stderr)
        return 1
    return 0


def publish(profile: str, jobs: int, hh_rlhf: Path | None, workspace: Path, frozen: bool = False) -> None:
    """Do each part in turn. Raises PublishError or RenderError, with the published book as it was before."""
    if hh_rlhf is not None and not hh_rlhf.is_dir():
        raise PublishError(
            f"there is no folder {hh_rlhf}: HH_RLHF names the folder that holds harmless-base/"
        )
    if frozen and hh_rlhf is not None:
        raise PublishError("nothing is frozen of real dialogues: leave out --frozen, or the data folder")
    started = time.perf_counter()
    folder = os.path.relpath(hh_rlhf, render.NOTEBOOKS) if hh_rlhf else None
    settings = {"profile": profile, "hh_rlhf": folder, "frozen": frozen or None}
    gather_pages(workspace)
    write_ledger(workspace)
    pages = toc_pages(workspace)
    names = [page.removeprefix(CHAPTERS) for page in pages if page.startswith(CHAPTERS)]
    chapters = [render.chapter(name, workspace / CHAPTERS, settings) for name in names]
    stale = [item for item in chapters if not item.is_current()]
    print(f"chapters (profile {profile}): {len(chapters) - len(stale)} as they were, {len(stale)} to run")
    if stale:
        if not frozen:
            with part("study"):
                prepare(profile, jobs, hh_rlhf)
        with part("notebooks"):
            render.execute_all(stale, jobs)
    with part("pages"):
        site = build(workspace, pages)
    print(f"{len(pages)} pages in {time.perf_counter() - started:.1f} s: {site / 'index.html'}")


def prepare(profile: str, jobs: int, hh_rlhf: Path | None) -> None:
    """Run the study's steps that the notebooks will open, in parallel, except those that the store holds."""
    command = [sys.executable, "-m", "afd_study.study", "prepare", "--profile", profile, "--jobs", str(jobs)]
    if hh_rlhf is not None:
        command += ["--hh-rlhf", str(hh_rlhf)]
    done = subprocess.run(command, cwd=render.ROOT, check=False)
    if done.returncode:
        raise PublishError(f"the study failed (exit status {done.returncode}): {' '.join(command[1:])}")


def gather_pages(workspace: Path) -> None:
    """Copy the book's pages into a workspace other than the book; drop what the book no longer has."""
    if workspace == BOOK:
        return
    skip = ("_build", "chapters", "results", "sweeps", "__pycache__")
    for top in BOOK.iterdir():
        if top.name in skip or top.suffix in (".py", ".sh"):
            continue
        target = workspace / top.name
        if top.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(top, target, ignore=shutil.ignore_patterns(*skip))
        elif not target.is_file() or target.read_bytes() != top.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(top, target)
    for page in workspace.glob("*.md"):
        if not (BOOK / page.name).is_file():
            page.unlink()


def write_ledger(workspace: Path) -> None:
    """Write the ledger's summary and what the map says of simple rules, for the front page to include.

    Both come from frozen values.

    Raises PublishError where a claim names something that does not exist, the values do not match their
    manifest, or a sentence of the summary disagrees with the ledger.
    """
    try:
        sentences = "".join(f"- {sentence}\n" for sentence in claims.in_words(claims.claims()))
        summary = f"{sentences}\n{claims.front_page()}"
        rules = heterogeneity_map.simple_rules_in_words(heterogeneity_map.frozen_map())
    except AfdError as fault:
        raise PublishError(f"the ledger of claims cannot be judged: {fault}") from fault
    for name, text in zip(INCLUDED, (summary, rules + "\n"), strict=True):
        target = workspace / name
        if not target.is_file() or target.read_text(encoding="utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")


def toc_pages(workspace: Path) -> list[str]:
    """Return the pages of the table of contents, in order, without their suffix."""
    return [str(name) for name in parse_toc_yaml(workspace / "_toc.yml")]


def build(workspace: Path, pages: list[str]) -> Path:
    """Build the pages, check each, and put the site in its place. Return its folder.

    Sphinx works in a folder of its own, where it keeps its records of unchanged pages. The published folder
    is replaced as a whole when every page has passed.
    """
    site, work = workspace / "_build" / "html", workspace / "_build" / ".work"
    key, record = site_key(workspace, pages), site / ".published.json"
    if record.is_file() and json.loads(record.read_text(encoding="utf-8")) == {"key": key, "pages": pages}:
        return site
    known = work / "pages.json"
    if not known.is_file() or json.loads(known.read_text(encoding="utf-8")) != pages:
        shutil.rmtree(work, ignore_errors=True)  # a page that left the table of contents must not survive
    run_sphinx(workspace, work)
    known.write_text(json.dumps(pages), encoding="utf-8")
    built = work / "_build" / "html"
    titles = {page: gate.heading(page_source(workspace, page)) for page in pages}
    faults = [fault for page in pages for fault in gate.page_faults(built / f"{page}.html", titles[page])]
    if faults:
        raise PublishError("\n".join(faults))
    fresh, old = site.with_name(".html-fresh"), site.with_name(".html-old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(built, fresh)
    shutil.copyfile(fresh / f"{pages[0]}.html", fresh / "index.html")  # Jupyter Book's own only redirects
    (fresh / record.name).write_text(json.dumps({"key": key, "pages": pages}), encoding="utf-8")
    if site.exists():
        site.rename(old)
    fresh.rename(site)
    shutil.rmtree(old, ignore_errors=True)
    return site


def run_sphinx(workspace: Path, work: Path) -> None:
    """Run Jupyter Book, every warning an error. Raises PublishError with the warnings and the log's place."""
    work.mkdir(parents=True, exist_ok=True)
    log = work / "sphinx.log"
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", str(workspace), "--config", str(CONFIG)]
    command += ["--path-output", str(work), "-W", "--keep-going"]
    with log.open("w", encoding="utf-8") as stream, neutral.settings():
        done = subprocess.run(command, cwd=render.ROOT, stdout=stream, stderr=stream, check=False)
    if done.returncode:
        lines = log.read_text(encoding="utf-8").splitlines()
        complaints = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-40:]
        raise PublishError(f"Jupyter Book failed ({log}):\n" + "\n".join(complaints))


def site_key(workspace: Path, pages: list[str]) -> str:
    """Return the hash of everything that the pages are built from."""
    files = [page_source(workspace, page) for page in pages]
    files += [
        workspace / "_toc.yml",
        *(workspace / name for name in INCLUDED),
        CONFIG,
        render.ROOT / "constraints.txt",
        *BOOK.glob("*.py"),
    ]
    files += [render.ROOT / "afd_study" / "figures" / name for name in ("mime.py", "figure_data.py")]
    files += workspace.glob("*.bib")
    for folder in ("_static", "_ext"):
        files += [path for path in (workspace / folder).rglob("*.*") if path.suffix != ".pyc"]
    return render.digest(files, render.ROOT)


def page_source(workspace: Path, page: str) -> Path:
    """Return the file that a page of the table of contents is built from."""
    for suffix in (".md", ".ipynb"):
        if (workspace / f"{page}{suffix}").is_file():
            return workspace / f"{page}{suffix}"
    raise PublishError(f"the table of contents names '{page}', but there is no such page in {workspace}")


if __name__ == "__main__":
    sys.exit(main())
