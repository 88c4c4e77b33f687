"""SVG text as matplotlib writes it, made small: what looks the same is said in a third of the bytes."""

from __future__ import annotations

import html
import re
from collections import Counter

from cortexrnn.report.style import FONT_MEASURED, FONT_SHOWN, INK

_DROPPED = re.compile(
    r"<!--.*?-->|<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL
)
_TAG = re.compile(r"(<[^<>]+>)")
_REFERENCE = re.compile(r'(?:xlink:href="#|url\(#)([^")]+)')
_MARK = re.compile(r'<path id="([^"]+)" d="([^"]*)" style="([^"]*stroke:[^"]*)"')
_CLIPPED = re.compile(r"<g clip-path=[^>]*>(.*?)</g>", re.DOTALL)
_LINE = re.compile(r"M (\S+) (\S+)\s+L (\S+) (\S+)\s*")
_PLACE = re.compile(r' x="([^"]+)" y="([^"]+)"')
_NUMERIC = re.compile(r' (?:(?:x|y|width|height|points)="|transform="rotate)[^"]*"')
_NUMBER = re.compile(r"-?\d+\.\d+")
_STYLE = re.compile(r' style="([^"]*)"')
_PATH = re.compile(r' d="([^"]*)"')
_COMMAND = re.compile(r"([A-Za-z])([^A-Za-z]*)")
# Coordinates are whole tenths of a point: an eighth of a pixel where a figure is as wide as on a page.
_STEPS_PER_PT = 10
# How most text looks; said once.
_TEXT = ("font-size: 9.5px", f"fill: {INK}")


def tidy_svg(raw: str, name: str, caption: str) -> str:
    """Strip what a page does not need, and shorten the rest.

    Parameters
    ----------
    raw : str
        As matplotlib's SVG canvas writes it.
    name : str
        Starts every id, so that figures can stand beside each other in one page.
    caption : str
        The text alternative; is escaped.

    Returns
    -------
    str
        One ``<svg>`` element. Groups that say nothing are gone, an id is there where something refers to it, the ticks
        of an axis are one path, and paths are written in relative steps of a tenth of a point.
    """
    body = raw[raw.index("<svg") :]
    box = re.search(r'viewBox="([^"]+)"', body).group(1)
    width, height = box.split()[2:]
    body = _DROPPED.sub("", body[body.index(">") + 1 : body.rindex("</svg>")])
    body = _drop_groups(_merge_ticks(body))
    ids = {old: f"{name}-{k}" for k, old in enumerate(dict.fromkeys(_REFERENCE.findall(body)))}
    marks = {found[1] for found in _MARK.finditer(body)}
    body = _TAG.sub(lambda m: _tidy_tag(m[0], ids, marks), body)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}pt" height="{height}pt" viewBox="{box}" role="img" '
        f'aria-label="{html.escape(caption)}" '
        f'style="stroke-linejoin:round;stroke-linecap:butt;{_pack_style("; ".join(_TEXT))};font-family:{FONT_SHOWN}">'
        f"{body}</svg>"
    )


def lone_image(svg: str, name: str) -> str:
    """Shorten a figure that is a document of its own: an image beside which no other figure needs ids or styles.

    Parameters
    ----------
    svg : str
        From `tidy_svg`.
    name : str
        As it was given there.

    Returns
    -------
    str
        Without text alternative, for which an image has a place of its own.
    """
    head, body = svg[: svg.index(">") + 1], svg[svg.index(">") + 1 :]
    head = re.sub(r' role="img" aria-label="[^"]*"', "", head)
    styles = Counter(style for tag in _TAG.findall(body) for style in _STYLE.findall(tag))
    classes = {style: f"s{k}" for k, style in enumerate(styles) if styles[style] > 1}

    def shorten(tag: re.Match[str]) -> str:
        """Rewrite one tag."""
        short = _STYLE.sub(lambda m: f' class="{classes[m[1]]}"' if m[1] in classes else m[0], tag[0])
        return re.sub(rf'(id="|#){re.escape(name)}-', r"\1i", short)

    rules = "".join(f".{word}{{{style}}}" for style, word in classes.items())
    return f"{head}<style>{rules}</style>{_TAG.sub(shorten, body)}"


def shorten_path(path: str) -> str:
    """Write a path in relative steps of a tenth of a point.

    Parameters
    ----------
    path : str
        Absolute commands M, L, Q, C and z, numbers parted by spaces.

    Returns
    -------
    str
        Commands M, m, l, h, v, q, c and z. Steps of no length and stops within a straight horizontal or vertical line
        are left out. Points are rounded and not steps, so that errors do not add up.
    """
    words: list[str] = []
    x = y = start_x = start_y = 0
    run, length = "", 0
    for command, numbers in _COMMAND.findall(path):
        values = [round(_STEPS_PER_PT * float(number)) for number in numbers.split()]
        if command in "zZ":
            words.append("z")
            x, y, run = start_x, start_y, ""
            continue
        from_x, from_y = x, y
        x, y = values[-2:]
        if command == "L" and (x == from_x or y == from_y):
            kind, step = ("v", y - from_y) if x == from_x else ("h", x - from_x)
            # The first step stays even without a length: with square ends it is a dot.
            if step == 0 and words[-1][0] not in "Mm":
                continue
            if run == kind and step * length > 0:
                words.pop()
                step += length
            words.append(kind + _write(step))
            run, length = kind, step
            continue
        run = ""
        if command == "M":
            start_x, start_y = x, y
            words.append("m" + _write(x - from_x, y - from_y) if words else "M" + _write(x, y))
        else:
            steps = [value - (from_y if k % 2 else from_x) for k, value in enumerate(values)]
            words.append(command.lower() + _write(*steps))
    return "".join(words)


def _merge_ticks(body: str) -> str:
    """Draw all ticks of one look as one path, where the first of them was; they lie outside the axes."""
    clipped = set(_REFERENCE.findall("".join(_CLIPPED.findall(body))))
    for mark, path, style in _MARK.findall(body):
        line = _LINE.fullmatch(path)
        if line is None or mark in clipped:
            continue
        x0, y0, x1, y1 = map(float, line.groups())
        use = re.compile(rf'<use xlink:href="#{re.escape(mark)}"[^>]*/>')
        places = [tuple(map(float, _PLACE.search(tag).groups())) for tag in use.findall(body)]
        ticks = " ".join(f"M {x + x0} {y + y0} L {x + x1} {y + y1}" for x, y in places)
        body = use.sub(f'<path d="{ticks}" style="{style}"/>', body, count=1)
        body = use.sub("", body)
        body = re.sub(rf'<defs>\s*<path id="{re.escape(mark)}"[^>]*/>\s*</defs>', "", body)
    return body


def _drop_groups(body: str) -> str:
    """Leave out groups without attributes and the white space between tags."""
    words, is_kept = [], []
    for piece in _TAG.split(body):
        # Text between tags, which may hold a unit's name, stays as it is.
        word = piece if piece.strip() else ""
        if piece == "</g>":
            word = piece if is_kept.pop() else ""
        elif piece.startswith("<g") and not piece.endswith("/>"):
            is_kept.append("clip-path" in piece or "transform" in piece or "style" in piece)
            word = piece if is_kept[-1] else ""
        words.append("" if re.fullmatch(r"<g[^>]*/>", piece) else word)
    return "".join(words)


def _tidy_tag(tag: str, ids: dict[str, str], marks: set[str]) -> str:
    """Rewrite one tag: short ids, short numbers, no style that is said already."""
    if tag.startswith("<use") and _REFERENCE.search(tag)[1] in marks:
        # A mark has its own line; only its filling is said at each place.
        tag = _STYLE.sub(lambda m: _without(m[1], "stroke"), tag)
    elif tag.startswith("<text"):
        tag = _STYLE.sub(lambda m: _without(m[1], *_TEXT, f"font-family: '{FONT_MEASURED}'"), tag)
    tag = re.sub(r' id="([^"]*)"', lambda m: f' id="{ids[m[1]]}"' if m[1] in ids else "", tag)
    tag = _REFERENCE.sub(lambda m: m[0].replace(m[1], ids[m[1]]), tag)
    tag = _NUMERIC.sub(lambda m: _NUMBER.sub(_round, m[0]), tag)
    tag = _PATH.sub(lambda m: f' d="{shorten_path(m[1])}"', tag)
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    return _STYLE.sub(lambda m: f' style="{_pack_style(m[1])}"', tag)


def _without(style: str, *starts: str) -> str:
    """Leave properties out of a style attribute by how they start."""
    kept = [part for part in style.split("; ") if not part.startswith(starts)]
    return f' style="{"; ".join(kept)}"' if kept else ""


def _pack_style(style: str) -> str:
    """Leave the spaces out of a style."""
    return style.replace(": ", ":").replace("; ", ";")


def _round(number: re.Match[str]) -> str:
    """Write a decimal number in tenths."""
    return _write(round(_STEPS_PER_PT * float(number[0])))


def _write(*steps: int) -> str:
    """Write coordinates in points: no zero before the point, no space before a minus sign."""
    words = ""
    for step in steps:
        whole, tenths = divmod(abs(step), _STEPS_PER_PT)
        size = f"{whole or ''}.{tenths}" if tenths else f"{whole}"
        words += f"-{size}" if step < 0 else f" {size}" if words else size
    return words
