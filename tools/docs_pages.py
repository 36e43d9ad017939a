"""A hook of MkDocs: the pages at the root of the repository are pages of the site too.

In: the files of `docs/`. Out: the same with the READMEs, CONTRIBUTING.md and CHANGELOG.md, whose
links lead to pages of the site.
"""

from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
# File of the repository: page of the site.
PAGES = {
    "README.md": "index.md",
    "README.zh-CN.md": "zh/index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def on_files(files, config):
    """Add the pages."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Let the links of an added page lead to where its targets are in the site."""
    if page.file.src_uri not in PAGES.values():
        return markdown
    up = "../" * page.file.src_uri.count("/")
    for name, target in PAGES.items():
        markdown = markdown.replace(f"]({name}", f"]({up}{target}")
    return markdown.replace("](docs/", f"]({up}")
