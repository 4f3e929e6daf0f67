"""How pages are delivered: one style sheet with the rules that are used, icons that are used, scripts where they
are used, and a content security policy on each page.

All of it happens after the build, on the files that Sphinx wrote, and can be done again on its own result.

A page that needs more than its policy allows says so in _config.yml, under `sphinx: config:`

    book_policy: {book/calculator: "script-src 'unsafe-eval'"}
"""

import base64
import functools
import gzip
import hashlib
import html
import importlib.util
import io
import json
import logging
import posixpath
import re
import shutil
import zlib
from collections import defaultdict
from pathlib import Path

import tinycss2
from fontTools import subset

logging.getLogger("fontTools").setLevel(logging.WARNING)

SHEET = "site.css"
MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "output/chtml.js",
    "output/chtml/fonts",
    "a11y/assistive-mml.js",
    *(f"input/tex/extensions/{name}.js" for name in ("boldsymbol", "cancel", "color", "enclose")),
)
# What no page asks for: maps for debuggers, the script that draws the icons of the theme's font again, leftovers.
UNUSED = ("**/*.map", "**/fontawesome.js*", "**/all-packages.js", "**/*webpack-macros.html")
UNUSED += ("**/locales", "**/*.LICENSE.txt", "copybutton_funcs.js", "images/logo_*", "vendor")
UNUSED += ("file.png", "minus.png", "plus.png", "basic.css")

FORMULA = r'class="(?:[^"]* )?(?:math|text_latex)[ "]'
# What MathJax puts around a formula; its own scripts are too large to be read for words.
FROM_MATHJAX = {
    "mjx-container",
    "mjx-math",
    "mjx-assistive-mml",
    "MathJax",
    "MathJax_Display",
    "jax",
}
# A script that works on a part of the page, and what the page has if it has that part.
WHERE_USED = {
    "math.js": FORMULA,
    "copybutton.js": 'class="highlight',
    "clipboard.min.js": 'class="highlight',
    "togglebutton.js": r'class="(?:[^"]* )?toggle[ "]|class="(?=[^"]*\badmonition\b)(?:[^"]* )?dropdown[ "]',
    "design-tabs.js": "sd-tab-set",
    "searchtools.js": 'id="search-results"|search_as_you_type = true',
    "language_data.js": 'id="search-results"|search_as_you_type = true',
    "searchindex.js": 'id="search-results"|search_as_you_type = true',
}
MATHJAX_SETTINGS = re.compile(r"[ \t]*<script>window\.MathJax = .*?</script>\n?", re.DOTALL)
SCRIPT = re.compile(r'[ \t]*<script\b([^>]*)\bsrc="([^"]*)"[^>]*></script>\n?')
INLINE = re.compile(r"[ \t]*<script>(.*?)</script>\n?", re.DOTALL)
STYLE_LINK = re.compile(r'[ \t]*<link (?=[^>]*rel="stylesheet")[^>]*href="([^"]*)"[^>]*>\n?')
# The theme's script lays out every cell of a page to see which of them scroll; aids.js does so as they come into view.
SCROLLING = re.compile(r'\["pre","\.nboutput[^\]]*\]\.join\(", "\)')
VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')
CODE = re.compile(r'<div class="highlight"><pre>.*?</pre>', re.DOTALL)
SAME = re.compile(r'<span class="(\w+)">[^<]*</span>(?:\s*<span class="\1">[^<]*</span>)+')
CELL = re.compile(r"<t[dh]\b.*?</t[dh]>", re.DOTALL)
NAME_OF_CODE = re.compile(r'(?<=<span class="pre">)[^<]+(?=</span>)')
USE = re.compile(r"var\(\s*(--[\w-]+)")
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>\n?')
PRELOAD = re.compile(r'[ \t]*<link rel="preload" as="script"[^>]*>\n?')
# Firefox would fetch the next page at once, and its console would tell that the policy forbids it.
NEIGHBOURS = re.compile(r'[ \t]*<link rel="(?:next|prev)"[^>]*>\n?')
NOSCRIPT = re.compile(
    r"\s*(?:<!--(?:(?!-->).)*-->\s*)?<noscript>\s*<style>.*?</noscript>", re.DOTALL
)
SIDEBAR = '<div id="pst-primary-sidebar" role="complementary" aria-label="Book"'


# Style sheets


def words_of(pages, scripts):
    """Every word in a tag of the pages or anywhere in a script: the names that a style sheet may refer to."""
    words = set(FROM_MATHJAX)
    for page in pages:
        tags = " ".join(re.findall(r"<script\b.*?</script>|<[^>]+>", page, re.DOTALL))
        # The second kind is for names with signs in them, such as "w-1/2".
        words.update(re.findall(r"[\w-]+", tags), re.findall(r"""[^\s"'<>=]+""", tags))
    for script in scripts:
        words.update(re.findall(r"[\w-]+", script))
    return words


def split(tokens, separator=","):
    """Lists of tokens, as the separator parts them."""
    parts = [[]]
    for token in tokens:
        if token == separator:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def can_match(selector, words):
    """Whether every class, id, element and attribute that the selector asks for is a word of the site."""
    before = None
    for token in selector:
        if token.type == "hash" or (token.type == "ident" and before != ":"):
            if token.value not in words and token.value.lower() not in words:
                return False
        elif token.type == "[] block":
            names = [part.value for part in token.content if part.type == "ident"][:1]
            if not all(name in words for name in names):
                return False
        elif token.type == "function" and token.lower_name in ("is", "where", "has"):
            if not any(can_match(option, words) for option in split(token.arguments)):
                return False
        if token.type not in ("whitespace", "comment"):
            before = token.value if token.type == "literal" else None
    return True


def text(tokens):
    """CSS without comments, its white space reduced to single blanks."""
    tokens = [token for token in tokens if token.type != "comment"]
    return re.sub(r"\s+", " ", tinycss2.serialize(tokens)).strip() if tokens else ""


def purge(rules, words):
    """The rules that can match something, as text, those inside @media and @supports too."""
    kept = []
    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [part for part in split(rule.prelude) if can_match(part, words)]
            if selectors and text(rule.content):
                kept.append(f"{','.join(map(text, selectors))}{{{text(rule.content)}}}")
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
            inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            if inside := purge(inner, words):
                kept.append(f"@{rule.at_keyword} {text(rule.prelude)}{{{''.join(inside)}}}")
        elif rule.type == "at-rule" and rule.lower_at_keyword != "charset":
            kept.append(text([rule]))
        elif rule.type == "error":
            raise ValueError(f"style sheet, line {rule.source_line}: {rule.message}")
    return kept


def if_used(names, match):
    """What was matched, if the name in it is among those used."""
    return match.group() if match.group(1) in names else ""


def drop_unreferenced(css, words):
    """Without animations and variables that neither the sheet nor a word of the site refers to."""
    block = r"@keyframes ([\w-]+) ?\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}"
    used = set(re.findall(r"[\w-]+", re.sub(block, "", css)))
    css = re.sub(block, functools.partial(if_used, used), css)
    variable = r"""(?<=[{;])\s*(--[\w-]+)\s*:(?:"[^"]*"|'[^']*'|[^;{}"'])*(?:;|(?=\}))"""
    before = None
    while css != before:  # a variable may be used by one that goes
        before = css
        css = re.sub(variable, functools.partial(if_used, set(USE.findall(css)) | words), css)
    return re.sub(r"[^{};]+\{\s*\}", "", css)


def rebase(css, folder):
    """Relative addresses of a sheet in `folder` (below _static), as a sheet in _static itself writes them."""

    def moved(match):
        quote, address = match.groups()
        if re.match(r"data:|#|/|[\w+.-]+:", address):
            return match.group()
        return f"url({quote}{posixpath.normpath(posixpath.join(folder, address))}{quote})"

    return re.sub(r"""url\(\s*(["']?)(.*?)\1\s*\)""", moved, css)


def icon_fonts(css, static, words):
    """The icons that the sheet shows, cut out of the theme's fonts and put into the sheet itself.

    As part of the sheet they are there with the first paint: nothing moves when they arrive.
    """
    shown = set(re.findall(r"""["']([\ue000-\uf8ff])["']|--fa: ?["'](.)["']""", css))
    shown = {one or other for one, other in shown}

    def cut(match):
        source = re.search(r"url\(([^)]*\.ttf)\)", match.group())
        if source is None or not (static / source.group(1)).is_file():
            return match.group()
        style = re.search(r"fa-(\w+)-", source.group(1)).group(1)
        if style != "solid" and not {f"fa-{style}", f"fa{style[0]}"} & words:
            return ""
        options = subset.Options(
            flavor="woff", hinting=True, desubroutinize=True, notdef_outline=True
        )
        font = subset.load_font(str(static / source.group(1)), options)
        icons = sorted(shown & {chr(code) for code in font.getBestCmap()})
        if not icons:
            return ""
        cutter = subset.Subsetter(options)
        cutter.populate(text="".join(icons))
        cutter.subset(font)
        file = io.BytesIO()
        subset.save_font(font, file, options)
        data = base64.b64encode(file.getvalue()).decode()
        return re.sub(r"src:[^;}]*", f"src:url(data:font/woff;base64,{data})", match.group())

    return re.sub(r"@font-face ?\{[^}]*\}", cut, css)


def rules_of(static, name):
    """The rules of a sheet and of those that it imports."""
    css = rebase((static / name).read_text(encoding="utf-8"), posixpath.dirname(name))
    for rule in tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True):
        if rule.type == "at-rule" and rule.lower_at_keyword == "import":
            address = next(part.value for part in rule.prelude if part.type in ("string", "url"))
            yield from rules_of(
                static, posixpath.normpath(posixpath.join(posixpath.dirname(name), address))
            )
        else:
            yield rule


def merge(static, names, words):
    """One sheet out of those named (paths below _static): rules that can match, icons that are shown."""
    kept = [part for name in names for part in purge(rules_of(static, name), words)]
    return icon_fonts(drop_unreferenced("".join(kept), words), static, words)


def sheets_of(pages, static):
    """The style sheets that every page has, in order. Pages of an earlier build have the one made of them."""
    lists = []
    for page in pages.values():
        names = [re.sub(r"\?.*", "", address) for address in STYLE_LINK.findall(page)]
        names = [name.split("_static/", 1)[1] for name in names if "_static/" in name]
        if SHEET in names:
            names = (static / SHEET).read_text(encoding="utf-8").split("*/")[0].split()[1:]
        lists.append(names)
    return [name for name in lists[0] if all(name in names for names in lists)]


def one_sheet(pages, static):
    """All pages with one style sheet in place of those they share."""
    names = sheets_of(pages, static)
    scripts = [
        path.read_text(encoding="utf-8")
        for path in sorted(static.rglob("*.js"))
        if "mathjax" not in path.parts
    ]
    css = f"/* {' '.join(names)} */\n" + merge(static, names, words_of(pages.values(), scripts))
    (static / SHEET).write_text(css, encoding="utf-8")
    version = f"{zlib.crc32(css.encode()):08x}"

    def linked(page):
        placed = False

        def replace(match):
            nonlocal placed
            root, _, name = re.sub(r"\?.*", "", match.group(1)).partition("_static/")
            if name != SHEET and name not in names:
                return match.group()
            link = f'<link rel="stylesheet" href="{root}_static/{SHEET}?v={version}" />\n'
            link, placed = "" if placed else link, True
            return link

        return STYLE_LINK.sub(replace, page)

    for name in names:
        (static / name).unlink(missing_ok=True)
    return {path: linked(page) for path, page in pages.items()}


# Markup


def code_colours(css):
    """Pygments' class -> the first class of the same look in every theme, None where that is the look of bare code."""
    base = re.findall(r'\[data-theme="(\w+)"\] \.highlight \{[^}]*[ ;{](color: #\w+)', css)
    rules = re.findall(r'\[data-theme="(\w+)"\] \.highlight \.(\w+) \{ ([^}]*?) \}', css)
    looks = defaultdict(dict)
    for theme, name, style in rules:
        looks[name][theme] = style.lower()
    first = {tuple(sorted((theme, style.lower()) for theme, style in base)): None}
    # Operators read as well in the colour of the names around them, and are a third of the markup.
    looks.pop("o", None)
    colours = {
        name: first.setdefault(tuple(sorted(look.items())), name) for name, look in looks.items()
    }
    return colours | {"o": None}


def plain_code(page, colours):
    """The page with one element for a run of code in one colour, and none for code without."""

    def simpler(match):
        name, code = match.groups()
        name = colours.get(name, name)
        return f'<span class="{name}">{code}</span>' if name else code

    page = re.sub(r'<span class="(\w+)">([^<]*)</span>', simpler, page)
    # "</span><span class="s">" between two runs of one colour
    return SAME.sub(
        lambda match: re.sub(r'</span>(\s*)<span class="\w+">', r"\1", match.group()), page
    )


def breakable_names(cell):
    """A cell of a table whose names of code may break after an underscore, and nowhere else."""
    return NAME_OF_CODE.sub(lambda name: name.group().replace("_", "_<wbr>"), cell)


def tidy(page, static=None, colours=None):
    """One page without what it does not need, its scripts deferred, its sidebar a landmark."""
    for unwanted in (NOSCRIPT, PRELOAD, NEIGHBOURS):
        page = unwanted.sub("", page)
    first = VIEWPORT.search(page)
    if first:
        rest = VIEWPORT.sub("", page[first.end() :])
        page = page[: first.end()] + rest
    if colours:
        page = CODE.sub(lambda match: plain_code(match.group(), colours), page)
    page = CELL.sub(lambda match: breakable_names(match.group()), page)
    page = page.replace('onclick="window.print()"', "data-print")
    page = page.replace('<div id="pst-primary-sidebar" class', f"{SIDEBAR} class")
    if not re.search(FORMULA, page):
        page = MATHJAX_SETTINGS.sub("", page)
    page = SCRIPT.sub(lambda match: script(match, page, static), page)
    return join_inline(page)


def script(match, page, static):
    """The tag of a script: gone where nothing uses it, inline if it is a few lines, deferred otherwise."""
    tag, name = match.group(), posixpath.basename(re.sub(r"\?.*", "", match.group(2)))
    where = WHERE_USED.get(name)
    if name == "fontawesome.js" or (where and not re.search(where, page)):
        return ""
    if name == "documentation_options.js" and static:
        content = (static / name).read_text(encoding="utf-8").strip()
        return f"<script>{content}</script>\n"
    if re.search(r"\b(?:defer|async|type)\b", match.group(1)) or "defer" in tag.split("src=")[1]:
        return tag
    return tag.replace("<script ", "<script defer ", 1)


def join_inline(page):
    """The head's inline scripts, but for the first, which sets the theme, as one."""
    head, end, rest = page.partition("</head>")
    parts = INLINE.findall(head)
    if not end or len(parts) < 2:
        return page
    joined = "\n".join(part.strip().rstrip(";") + ";" for part in parts)
    position = INLINE.search(head).start()
    head = INLINE.sub("", head)
    return f"{head[:position]}<script>{joined}</script>\n{head[position:]}{end}{rest}"


# The policy


def policy(page, more=""):
    """What the page may load and run: its own files and the inline scripts that it was built with, nothing else.

    `more` adds to it: "script-src 'unsafe-eval'", several parted by semicolons.
    """
    inline = re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>(.*?)</script>", page, re.DOTALL)
    hashes = sorted(
        f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
        for attributes, code in inline
        if not re.search(r'type="(?!module|text/javascript|application/javascript)', attributes)
    )
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *dict.fromkeys(hashes)],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'", "data:"],
        "connect-src": [
            "'self'"
        ],  # the search reads pages; audits read robots.txt as the page would
        "form-action": ["'self'"],
        "base-uri": ["'self'"] if "<base " in page else ["'none'"],
    }
    # MathJax writes a style element, figures carry style attributes.
    if re.search(r'<style\b|\sstyle="|_static/math\.js', page):
        rules["style-src"].append("'unsafe-inline'")
    # The search shows the lines around what it found, from the pages, which it reads with the styles in them.
    if 'id="search-results"' in page:
        rules["style-src"].append("'unsafe-inline'")
    for addition in filter(None, map(str.split, more.split(";"))):
        rules.setdefault(addition[0], []).extend(addition[1:])
    return "; ".join(" ".join([name, *sources]) for name, sources in rules.items())


def with_policy(page, more=""):
    """The page with its policy, which stands before everything that it governs."""
    page = POLICY.sub("", page)
    content = html.escape(policy(page, more), quote=True).replace("&#x27;", "'")
    tag = f'<meta http-equiv="Content-Security-Policy" content="{content}" />\n'
    return re.sub(r'(<meta charset="utf-8" ?/?>\n?)', lambda m: m.group() + tag, page, count=1)


# The files


def packed(text):
    """The text as a JavaScript literal for `unpack` in unpack.js: a third of its size on the disk."""
    return f'"{base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()}"'


def copy_mathjax(static):
    """Copy the part of MathJax that pages use (1 of 24 MB); `_config.yml` points `mathjax_path` to it."""
    package = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
    source = package / "static" / "mathjax"
    shutil.rmtree(static / "mathjax", ignore_errors=True)
    for name in MATHJAX:
        target = static / "mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            unused = shutil.ignore_patterns("*Fraktur*", "*Script*", "*SansSerif-[BI]*")
            shutil.copytree(source / name, target, ignore=unused, dirs_exist_ok=True)
        else:
            shutil.copy(source / name, target)


def compact_notebooks(folder):
    """Notebooks to download, without the white space that only a version control needs."""
    for path in folder.rglob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        text = json.dumps(notebook, ensure_ascii=False, separators=(",", ":"))
        path.write_text(text, encoding="utf-8")


def calm_theme(static):
    """Leave what scrolls to aids.js: on a phone the theme's way blocks a chapter for a second."""
    path = static / "scripts" / "pydata-sphinx-theme.js"
    if path.is_file():
        code, found = SCROLLING.subn('".none"', path.read_text(encoding="utf-8"))
        if not found and 'querySelectorAll(".none")' not in code:
            raise ValueError(
                f"{path.name}: the list of what scrolls, which aids.js looks after, is not there"
            )
        path.write_text(code, encoding="utf-8")


def remove_unused(static, pages):
    """Delete what no page asks for."""
    for pattern in [*UNUSED, *(name for name in WHERE_USED if f"/{name}" not in pages)]:
        for path in list(static.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            elif f"/{path.name}" not in pages:  # buttons to Colab and Binder show their pictures
                path.unlink(missing_ok=True)
    for path in static.glob("*.css"):
        if f"/{path.name}" not in pages:
            path.unlink()


def deliver(pages, static, more=lambda path: ""):
    """Write the pages (path -> text) and the files they share; `more(path)` adds to a page's policy."""
    copy_mathjax(static)
    pygments = static / "pygments.css"
    colours = code_colours(pygments.read_text(encoding="utf-8")) if pygments.is_file() else {}
    pages = {path: tidy(page, static, colours) for path, page in pages.items()}
    pages = one_sheet(pages, static)
    for path, page in pages.items():
        path.write_text(with_policy(page, more(path)), encoding="utf-8")
    compact_notebooks(static.parent / "_sources")
    calm_theme(static)
    remove_unused(static, "".join(pages.values()))
