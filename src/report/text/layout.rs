//! Laying text out: every width is counted before any colour is put on.

use super::Paint;

/// Between two columns.
const GAP: usize = 2;
/// A paragraph narrower than this is put below its row.
const NARROWEST: usize = 24;
/// What a row that is continued below begins with.
const BELOW: usize = 6;

/// One column of figures: its head, and whether it is aligned to the right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) head: &'static str,
    pub(super) right: bool,
}

/// Aligned to the left.
pub(super) const fn left(head: &'static str) -> Column {
    Column { head, right: false }
}

/// Aligned to the right.
pub(super) const fn right(head: &'static str) -> Column {
    Column { head, right: true }
}

/// A row: a name, figures, and a paragraph that may take several lines.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: Vec<String>,
    pub(super) paragraph: String,
}

/// A table whose names are never broken or shortened: one that is wider than a third of the screen has a line of its own.
pub(super) fn table(
    name: &'static str,
    columns: &[Column],
    paragraph: &'static str,
    rows: &[Row],
    paint: &Paint,
) -> String {
    let most = (paint.width / 3).clamp(8, 40);
    let fits = |text: &str| width(text) <= most;
    let names = rows.iter().map(|row| row.name.as_str()).filter(|name| fits(name)).map(width);
    let name_width = names.max().unwrap_or(0).max(width(name));
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| rows.iter().map(|row| width(&row.cells[at])).max().unwrap_or(0).max(width(column.head)))
        .collect();
    let figures_width: usize = widths.iter().map(|width| GAP + width).sum();
    // Where even the figures don't fit beside the names, every longer name has a line of its own, and in the end every name.
    let fits_beside = |names: &usize| GAP + names + figures_width <= paint.width;
    let name_width = [name_width, width(name)].into_iter().find(fits_beside).unwrap_or(0);
    let before = GAP + name_width + figures_width + GAP;
    let is_below = paint.width.saturating_sub(before) < NARROWEST;
    let cells = |texts: &[&str]| -> String {
        columns
            .iter()
            .zip(&widths)
            .zip(texts)
            .map(|((column, width), text)| {
                format!("  {}", if column.right { pad_left(text, *width) } else { pad(text, *width) })
            })
            .collect()
    };
    let heads: Vec<&str> = columns.iter().map(|column| column.head).collect();
    let name = if name_width == 0 { format!("{name}\n  ") } else { pad(name, name_width) };
    let mut head = format!("  {name}{}", cells(&heads));
    if !is_below && rows.iter().any(|row| !row.paragraph.is_empty()) {
        head += &format!("  {paragraph}");
    }
    let mut text = format!("{}\n", paint.strong.apply_to(head.trim_end()));
    for row in rows {
        let figures = cells(&row.cells.iter().map(String::as_str).collect::<Vec<_>>());
        let mut line = if width(&row.name) <= name_width {
            format!("  {}{figures}", pad(&row.name, name_width))
        } else {
            format!("  {}\n  {}{figures}", row.name, pad("", name_width))
        };
        if row.paragraph.is_empty() {
            line = line.trim_end().to_owned();
        } else if is_below || paint.width.saturating_sub(before) < longest_word(&row.paragraph) {
            line = format!("{}\n{}", line.trim_end(), wrapped(&" ".repeat(BELOW), &row.paragraph, paint));
        } else {
            let paragraph = wrapped(&" ".repeat(before), &row.paragraph, paint);
            line = format!("{line}  {}", paragraph.trim_start());
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A paragraph with a hanging indent as wide as its label, or a narrow one where that leaves too little for a word. Where there
/// is no screen it is one line.
pub(super) fn wrapped(label: &str, paragraph: &str, paint: &Paint) -> String {
    let beside = paint.width.saturating_sub(width(label));
    let indent = if beside < longest_word(paragraph) { width(label).min(BELOW) } else { width(label) };
    let mut lines = vec![label.to_owned()];
    let (mut so_far, mut is_begun) = (width(label), false);
    for word in paragraph.split_whitespace() {
        let word_width = width(word);
        if so_far > indent && so_far + usize::from(is_begun) + word_width > paint.width {
            lines.push(" ".repeat(indent));
            (so_far, is_begun) = (indent, false);
        }
        if let Some(line) = lines.last_mut() {
            if is_begun {
                line.push(' ');
                so_far += 1;
            }
            line.push_str(word);
        }
        (so_far, is_begun) = (so_far + word_width, true);
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn longest_word(paragraph: &str) -> usize {
    paragraph.split_whitespace().map(width).max().unwrap_or(0)
}

/// How many columns a text takes; it holds no colour yet.
pub(super) fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

/// Filled up with blanks behind.
pub(super) fn pad(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

/// Filled up with blanks before.
pub(super) fn pad_left(text: &str, to: usize) -> String {
    format!("{}{text}", " ".repeat(to.saturating_sub(width(text))))
}
