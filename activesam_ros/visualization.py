"""Drawing: label images in colour, overlays, legends and panels side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from activesam_ros.lettering import draw_text, fitting, text_width

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INK = (32, 32, 32)
_SOFT = (140, 140, 140)
_PAPER = (255, 255, 255)
# Rows of an image for each pixel of a border's width, and for each of a name's height.
_ROWS_PER_BORDER, _ROWS_PER_LETTER = 480, 40
# Regions are looked for in a copy of at most so many pixels a side.
_NAMING_SIDE = 160
# Share of a name's length that must lie inside of its region.
_INSIDE = 0.7


def colourise(labels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Colour a label image.

    Args:
        labels: integers [H, W].
        table: uint8 [ids, 3] as of `palette.colour_table`; with a row for every label.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    if labels.dtype == np.uint8 and len(table) == 256:
        # Ten times quicker than indexing.
        return cv2.LUT(cv2.merge([labels] * 3), table[np.newaxis])
    return np.take(table, labels, axis=0)


def overlay(
    rgb: np.ndarray,
    labels: np.ndarray,
    table: np.ndarray,
    unlabeled_id: int,
    strength: float = 0.55,
    contours: bool = True,
) -> np.ndarray:
    """Blend the colour of each class into an image; unlabelled pixels stay as they are.

    Args:
        rgb: uint8 [H, W, 3].
        labels: integers [H, W].
        table: uint8 [ids, 3] as of `palette.colour_table`.
        unlabeled_id: the label of pixels without a class.
        strength: weight of the class's colour, 0 to 1.
        contours: draw the border between two labels in white, a pixel wide for every 480 pixels of the shorter side.

    Returns:
        uint8 [H, W, 3], a new array.

    Raises:
        ValueError: the image and the labels differ in size.
    """
    if rgb.shape[:2] != labels.shape:
        raise ValueError(
            f"the image is {rgb.shape[1]}x{rgb.shape[0]} but the labels are "
            f"{labels.shape[1]}x{labels.shape[0]}; expected one size"
        )
    blended = cv2.addWeighted(rgb, 1.0 - strength, colourise(labels, table), strength, 0.0)
    cv2.copyTo(rgb, (labels == unlabeled_id).view(np.uint8), blended)
    if contours:
        cv2.copyTo(np.full_like(rgb, 255), _borders(labels).view(np.uint8), blended)
    return blended


def _borders(labels: np.ndarray) -> np.ndarray:
    border = np.zeros(labels.shape, bool)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    width = max(1, round(min(labels.shape) / _ROWS_PER_BORDER))
    return cv2.dilate(border.view(np.uint8), np.ones((width, width), np.uint8)).view(bool)


def name_regions(
    picture: np.ndarray, labels: np.ndarray, names: Mapping[int, str], least_share: float = 0.01
) -> None:
    """Write the name of each class into its largest region, where there is room for it.

    Args:
        picture: uint8 [H, W, 3], changed.
        labels: integers [H, W].
        names: by label; others get none.
        least_share: share of the image below which a region gets no name.
    """
    height, width = labels.shape
    shrink = max(1, -(-max(height, width) // _NAMING_SIDE))
    small = labels[shrink // 2 :: shrink, shrink // 2 :: shrink]
    letter = max(7, round(min(height, width) / _ROWS_PER_LETTER))
    for label in np.unique(small):
        if int(label) not in names:
            continue
        found = cv2.connectedComponentsWithStats((small == label).view(np.uint8), connectivity=4)
        count, regions, statistics = found[:3]
        largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax()) if count > 1 else 0
        if not largest or statistics[largest, cv2.CC_STAT_AREA] < least_share * small.size:
            continue
        # The border of the image counts as that of the region.
        region = np.pad((regions == largest).view(np.uint8), 1)
        distance = cv2.distanceTransform(region, cv2.DIST_L2, 3)[1:-1, 1:-1]
        row, column = np.unravel_index(int(distance.argmax()), distance.shape)
        text = fitting(names[int(label)], letter, width)
        needed = text_width(text, letter)
        across = regions[row, max(0, column - needed // (2 * shrink)) : column + needed // (2 * shrink)]
        if 2 * shrink * distance[row, column] < letter or np.mean(across == largest) < _INSIDE:
            continue
        left = min(max(0, int(column) * shrink - needed // 2), width - needed)
        draw_text(picture, text, left, int(row) * shrink + letter // 2, letter, _PAPER, _INK)


def heat(values: np.ndarray) -> np.ndarray:
    """Colour values [H, W], 0 to 1 or uint8, from black through red to white: uint8 [H, W, 3]."""
    if values.dtype != np.uint8:
        values = cv2.convertScaleAbs(np.asarray(values, np.float32), alpha=255.0)
    return cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_HOT), cv2.COLOR_BGR2RGB)


def draw_boxes(
    picture: np.ndarray,
    boxes: Sequence[tuple[float, float, float, float]],
    names: Sequence[str],
    colours: np.ndarray,
    text_height: int = 9,
) -> None:
    """Draw boxes into a picture, each with its name at its upper left corner.

    Args:
        picture: uint8 [H, W, 3], changed.
        boxes: left, top, right and bottom edges in pixels; they may reach beyond the picture.
        names: texts in any script.
        colours: uint8 [len(boxes), 3], RGB.
        text_height: height of capital letters in pixels.
    """
    height, width = picture.shape[:2]
    for box, name, colour in zip(boxes, names, colours, strict=True):
        left, right = (round(min(max(edge, 0), width - 1)) for edge in box[::2])
        top, bottom = (round(min(max(edge, 0), height - 1)) for edge in box[1::2])
        tint = tuple(int(part) for part in colour)
        cv2.rectangle(picture, (left, top), (right, bottom), _PAPER, 4)
        cv2.rectangle(picture, (left, top), (right, bottom), tint, 2)
        length = text_width(name, text_height)
        edge = max(0, min(left, width - length - 4))
        base = max(top - 3, text_height + 2)
        corner = (edge + length + 4, base - text_height - 3)
        cv2.rectangle(picture, (edge, base + 3), corner, _PAPER, cv2.FILLED)
        draw_text(picture, name, edge + 2, base, text_height, _INK)


def legend(names: Sequence[str], colours: np.ndarray, width: int, text_height: int = 12) -> np.ndarray:
    """Draw a legend, wrapped into as many rows as it takes.

    Args:
        names: texts in any script.
        colours: uint8 [len(names), 3], RGB.
        width: of the strip in pixels; a name too long for it is cut with "…".
        text_height: height of capital letters in pixels.

    Returns:
        uint8 [height, width, 3]; one blank row if there are no names.
    """
    gap, box = text_height // 2, text_height + 4
    row_height = box + gap
    placed: list[tuple[str, np.ndarray, int, int]] = []
    x, row = gap, 0
    for name, colour in zip(names, colours, strict=True):
        text = fitting(name, text_height, width - 3 * gap - box)
        needed = box + gap + text_width(text, text_height) + 2 * gap
        if x > gap and x + needed > width:
            x, row = gap, row + 1
        placed.append((text, colour, x, row))
        x += needed
    strip = np.full(((row + 1) * row_height + gap, width, 3), _PAPER, np.uint8)
    for text, colour, x, row in placed:
        top = gap + row * row_height
        cv2.rectangle(strip, (x, top), (x + box, top + box), tuple(int(part) for part in colour), cv2.FILLED)
        cv2.rectangle(strip, (x, top), (x + box, top + box), _INK, 1)
        draw_text(strip, text, x + box + gap, top + box - 2, text_height, _INK)
    return strip


def legend_sheet(
    class_ids: Sequence[int],
    names: Sequence[str],
    colours: np.ndarray,
    most: int = 512,
    text_height: int = 10,
    widest: int = 220,
    active: Sequence[bool] | None = None,
) -> np.ndarray:
    """Draw ids, names and colours of classes, one below the other, in columns of equal width.

    Args:
        class_ids: in the order of the list.
        names: texts in any script.
        colours: uint8 [len(names), 3], RGB.
        most: maximum number of classes; of more, the first are shown and the rest is counted.
        text_height: height of capital letters in pixels.
        widest: width in pixels above which a name is cut with "…".
        active: which classes are written in black, the others in grey; None: all in black.

    Returns:
        uint8 [height, width, 3], higher than wide only up to 16 rows; a blank sheet if there are no classes.
    """
    shown = min(len(names), most)
    texts = [fitting(name[:widest], text_height, widest) for name in names[:shown]]
    if shown < len(names):
        texts.append(f"and {len(names) - shown} more")
    numbers = [str(one) for one in class_ids[:shown]]
    gap, row, box = text_height, 2 * text_height, 2 * text_height + 6
    number_width = max((text_width(one, text_height) for one in numbers), default=0)
    text_x = gap + number_width + gap + box + gap
    column = text_x + max((text_width(one, text_height) for one in texts), default=0) + gap
    columns = 1
    while (rows := -(-len(texts) // columns)) > 16 and rows * row > columns * column:
        columns += 1
    sheet = np.full((max(1, rows) * row + gap, columns * column, 3), _PAPER, np.uint8)
    for index, text in enumerate(texts):
        x, top = index // rows * column, gap // 2 + index % rows * row
        baseline = top + (row + text_height) // 2
        ink = _INK if active is None or index >= shown or active[index] else _SOFT
        if index < shown:
            corner, opposite = (x + text_x - gap - box, top + 2), (x + text_x - gap, top + row - 2)
            colour = tuple(int(part) for part in colours[index])
            cv2.rectangle(sheet, corner, opposite, colour, cv2.FILLED)
            cv2.rectangle(sheet, corner, opposite, ink, 1)
            right = x + gap + number_width - text_width(numbers[index], text_height)
            draw_text(sheet, numbers[index], right, baseline, text_height, ink)
        draw_text(sheet, text, x + text_x, baseline, text_height, ink)
    return sheet


def panels(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    columns: int | None = None,
    height: int | None = None,
    gap: int = 6,
    title_height: int = 11,
) -> np.ndarray:
    """Arrange images side by side, each under its title, on white.

    Args:
        images: uint8 [H, W, 3] or [H, W], of any sizes.
        titles: one for each image; "" for none.
        columns: images in a row; None: all of them.
        height: of each image in pixels, widths follow; None: that of the first.
        gap: pixels between the images.
        title_height: height of the titles' capital letters in pixels.

    Returns:
        uint8 [rows, columns, 3].

    Raises:
        ValueError: no images, or not as many titles as images.
    """
    if not images or len(images) != len(titles):
        raise ValueError(
            f"got {len(images)} images and {len(titles)} titles; expected at least one and as many"
        )
    columns = columns or len(images)
    height = height or images[0].shape[0]
    cells = [_cell(image, title, height, title_height) for image, title in zip(images, titles, strict=True)]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    cell_width = max(cell.shape[1] for cell in cells)
    cell_height = cells[0].shape[0]
    sheet = np.full(
        (len(rows) * (cell_height + gap) + gap, min(columns, len(cells)) * (cell_width + gap) + gap, 3),
        _PAPER,
        np.uint8,
    )
    for row, line in enumerate(rows):
        for column, cell in enumerate(line):
            top, left = gap + row * (cell_height + gap), gap + column * (cell_width + gap)
            sheet[top : top + cell_height, left : left + cell.shape[1]] = cell
    return sheet


def _cell(image: np.ndarray, title: str, height: int, title_height: int) -> np.ndarray:
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    if image.shape[0] != height:
        # Nearest keeps the colours of labels exact when enlarging; area averages when shrinking.
        method = cv2.INTER_NEAREST if image.shape[0] < height else cv2.INTER_AREA
        image = cv2.resize(image, (width, height), interpolation=method)
    head = np.full((title_height + 9, width, 3), _PAPER, np.uint8)
    draw_text(head, fitting(title, title_height, width), 0, title_height + 3, title_height, _INK)
    return np.concatenate([head, image])


def caption(text: str, width: int, text_height: int = 9) -> np.ndarray:
    """Draw one line of text on white, cut with "…" at ``width`` pixels: uint8 [3 * text_height, width, 3]."""
    strip = np.full((3 * text_height, width, 3), _PAPER, np.uint8)
    draw_text(
        strip,
        fitting(text, text_height, width - text_height),
        text_height // 2,
        2 * text_height,
        text_height,
        _INK,
    )
    return strip


def stack(*images: np.ndarray) -> np.ndarray:
    """Stack images of any widths, left-aligned on white: uint8 [sum of heights, widest, 3]."""
    width = max(image.shape[1] for image in images)
    return np.concatenate(
        [
            cv2.copyMakeBorder(image, 0, 0, 0, width - image.shape[1], cv2.BORDER_CONSTANT, value=_PAPER)
            for image in images
        ]
    )
