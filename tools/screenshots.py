"""Screenshots of every page in four combinations, for a person to look at: `python tools/screenshots.py`.

They land in _build/screenshots/NAME-desktop-light.png and so on; folded parts stay folded.
"""

import shutil

from browser import SITE, browser, lay_out, open_page, serve

VIEWS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}
TALLEST = 12_000  # pixels; longer pages are cut


def main():
    target = SITE.parent / "screenshots"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    pages = [path for path in sorted(SITE.rglob("*.html")) if "_static" not in path.parts]
    with serve() as site, browser() as running:
        for view, size in VIEWS.items():
            for scheme in ("light", "dark"):
                context = running.new_context(
                    viewport=size, color_scheme=scheme, reduced_motion="reduce"
                )
                for path in pages:
                    name = path.relative_to(SITE).with_suffix("").as_posix()
                    page = open_page(context, f"{site}/{name}.html")
                    lay_out(page)
                    height = page.evaluate("document.documentElement.scrollHeight")
                    clip = {"x": 0, "y": 0, "width": size["width"], "height": min(height, TALLEST)}
                    file = target / f"{name.replace('/', '-')}-{view}-{scheme}.png"
                    page.screenshot(path=file, full_page=True, clip=clip)
                    page.close()
                context.close()
    print(f"{len(pages) * 4} screenshots: {target}")


if __name__ == "__main__":
    main()
