//! Text that others chose (names, hosts, arguments of other programs), made fit to be shown.
//!
//! A terminal obeys what it is shown: an escape sequence in a file's name could clear lines, hide them, or type for the
//! reader. So what is printed has no control characters, nor the marks that turn the direction of text around.

/// `text` in which every control character but tabs and ends of lines is written `\uXXXX`: also in a JSON text, where that
/// means the same.
pub fn visible(text: &str) -> String {
    escaped(text, |letter| !matches!(letter, '\n' | '\t'))
}

/// [`visible`] text that stays on its line.
pub fn one_line(text: &str) -> String {
    escaped(text, |_| true)
}

fn escaped(text: &str, also: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_hidden(letter) && also(letter) {
            out.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            out.push(letter);
        }
    }
    out
}

/// Control characters, and the marks of Unicode that reorder what is around them.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        let hostile = "a\x1b[2Jb\u{9b}31mc\r\x07d\u{7f}\u{202e}e\tü\n";
        assert_eq!(visible(hostile), "a\\u001b[2Jb\\u009b31mc\\u000d\\u0007d\\u007f\\u202ee\tü\n");
        assert!(one_line("forged\nline\t").chars().all(|letter| !letter.is_control()));
    }

    #[test]
    fn a_json_text_means_the_same_afterwards() {
        let value = "\u{7f}\u{9b}31m \x1b \n \u{202e} ü";
        let shown = visible(&serde_json::to_string(value).unwrap());
        assert!(shown.chars().all(|letter| !is_hidden(letter)));
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), value);
    }
}
