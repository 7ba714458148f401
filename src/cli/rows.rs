//! Tables for people: columns as wide as their widest cell, left empty where nothing is known. A cell cannot leave its line.

use bytesize::ByteSize;

use crate::base::text::one_line;

/// Letters of a name in a table.
const NAME_MAX: usize = 72;

/// `rows` under `heads`, each column aligned; the last one is not padded.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    std::iter::once(&heads).chain(&rows).map(|row| line(row, &widths)).collect()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| {
        let missing = width.saturating_sub(cell.chars().count());
        format!("{cell}{}  ", " ".repeat(missing))
    });
    let line: String = padded.collect();
    line.trim_end().to_owned() + "\n"
}

/// `name`, in at most [`NAME_MAX`] letters: a long one loses its middle, so that the columns after it stay in sight.
pub(super) fn short(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    match letters.len().checked_sub(NAME_MAX) {
        Some(more) if more > 0 => {
            let keep = (NAME_MAX - 1) / 2;
            let (front, back) = (letters.iter().take(keep), letters.iter().skip(letters.len() - keep));
            front.chain(['…'].iter()).chain(back).collect()
        }
        _ => name.to_owned(),
    }
}

/// Bytes with their unit.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A value, or nothing.
pub(super) fn maybe(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_where_their_text_does() {
        let rows = [
            vec!["1".to_owned(), "größer".to_owned(), String::new()],
            vec!["100".into(), "b".into(), "c".into()],
        ];
        assert_eq!(table(&["N", "NAME", "TAGS"], &rows), "N    NAME    TAGS\n1    größer\n100  b       c\n");
        let long = "a".repeat(40) + &"b".repeat(40);
        assert_eq!(short(&long), "a".repeat(35) + "…" + &"b".repeat(35));
        assert_eq!(short("ä.weight"), "ä.weight");
        let forged = table(&["N", "TAGS"], &[vec!["1".into(), "x\n000002  good\x1b[A".into()]]);
        assert_eq!(forged, "N  TAGS\n1  x\\u000a000002  good\\u001b[A\n");
    }
}
