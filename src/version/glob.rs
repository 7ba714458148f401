//! The patterns of `--run`: which directories are runs by their path.
//!
//! A pattern is parsed once into components and tokens. Matching keeps one place to go back to for `**` and one for `*`
//! inside a component, so its cost is bounded by the product of the lengths of path and pattern. Any bytes in.

/// A longer pattern is a typing error.
const PATTERN_BYTES_MAX: usize = 4096;

/// A pattern over paths below the mount's root: `*` and `?` within one component, `**` over any number of them (none
/// included), `[abc]`, `[a-z]`, `[!abc]`, and `\` before a character that is meant as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// `**`
    Any,
    One(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// `[...]`: the ranges, and whether they are what must not be there.
    Set(Vec<(char, char)>, bool),
}

impl Glob {
    /// Parses `pattern`; the error completes "'PATTERN' ...". Slashes at both ends say nothing; `/` is the root.
    pub fn new(pattern: &str) -> Result<Glob, String> {
        if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("is not a pattern of 1 to {PATTERN_BYTES_MAX} bytes"));
        }
        let trimmed = pattern.trim_matches('/');
        if trimmed.is_empty() {
            return Ok(Glob { parts: Vec::new() });
        }
        Ok(Glob { parts: trimmed.split('/').map(part).collect::<Result<_, _>>()? })
    }

    /// Whether the directory at `path` (below the root, without a leading slash; empty for the root) is meant.
    pub fn matches(&self, path: &[u8]) -> bool {
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let (mut at, mut name, mut back) = (0, 0, None);
        while let Some(text) = names.get(name) {
            match self.parts.get(at) {
                Some(Part::Any) => {
                    at += 1;
                    back = Some((at, name));
                }
                Some(Part::One(tokens)) if is_match(tokens, text) => {
                    at += 1;
                    name += 1;
                }
                _ => match back {
                    // The last `**` takes one component more.
                    Some((part, from)) => {
                        back = Some((part, from + 1));
                        (at, name) = (part, from + 1);
                    }
                    None => return false,
                },
            }
        }
        self.parts.iter().skip(at).all(|part| matches!(part, Part::Any))
    }
}

fn part(text: &str) -> Result<Part, String> {
    match text {
        "" => Err("has an empty component".into()),
        "." | ".." => Err("has a component '.' or '..'".into()),
        "**" => Ok(Part::Any),
        _ => tokens(text).map(Part::One),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        tokens.push(match char {
            '*' => Token::Many,
            '?' => Token::One,
            '[' => set(&mut chars)?,
            '\\' => Token::Char(chars.next().ok_or("ends with a backslash")?),
            _ => Token::Char(char),
        });
    }
    Ok(tokens)
}

/// What follows a `[`; a `]` at once and a `-` at an end are members.
fn set(chars: &mut std::str::Chars<'_>) -> Result<Token, String> {
    let open = || "has a [ without its ]".to_owned();
    let negated = matches!(chars.clone().next(), Some('!' | '^'));
    if negated {
        chars.next();
    }
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next().ok_or_else(open)? {
            ']' if !ranges.is_empty() => return Ok(Token::Set(ranges, negated)),
            '\\' => chars.next().ok_or_else(open)?,
            char => char,
        };
        let mut ahead = chars.clone();
        let high = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) if high != ']' => {
                *chars = ahead;
                high
            }
            _ => low,
        };
        if high < low {
            return Err(format!("has the range {low}-{high}, which is empty"));
        }
        ranges.push((low, high));
    }
}

/// Whether one component matches as a whole.
fn is_match(tokens: &[Token], text: &[u8]) -> bool {
    let (mut at, mut rest, mut back) = (0, text, None);
    loop {
        if let Some(Token::Many) = tokens.get(at) {
            at += 1;
            back = Some((at, rest));
            continue;
        }
        match (tokens.get(at), first(rest)) {
            (None, None) => return true,
            (Some(token), Some((char, len))) if token.takes(char) => {
                at += 1;
                rest = rest.get(len..).unwrap_or_default();
            }
            // The last `*` takes one character more.
            _ => {
                let Some((token, from)) = back else { return false };
                let Some((_, len)) = first(from) else { return false };
                let from = from.get(len..).unwrap_or_default();
                back = Some((token, from));
                (at, rest) = (token, from);
            }
        }
    }
}

impl Token {
    /// `None` is a byte that is no UTF-8: only wildcards take it.
    fn takes(&self, char: Option<char>) -> bool {
        match (self, char) {
            (Token::One | Token::Many, _) => true,
            (Token::Char(wanted), Some(char)) => *wanted == char,
            (Token::Set(ranges, negated), Some(char)) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&char)) != *negated
            }
            (Token::Set(_, negated), None) => *negated,
            (Token::Char(_), None) => false,
        }
    }
}

/// The first character and its length; a byte that is no UTF-8 counts as one.
fn first(bytes: &[u8]) -> Option<(Option<char>, usize)> {
    bytes.first()?;
    let head = bytes.get(..4).unwrap_or(bytes);
    let valid = head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    Some((valid, valid.map_or(1, char::len_utf8)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Glob::new(pattern).unwrap().matches(path.as_bytes())
    }

    #[test]
    fn stars_stay_within_a_component_and_double_stars_do_not() {
        assert!(matches("multirun/*/*/*", "multirun/2026-01-31/12-00-05/0"));
        assert!(!matches("multirun/*", "multirun/a/b"));
        assert!(matches("multirun/**", "multirun/a/b") && matches("multirun/**", "multirun"));
        assert!(matches("**/run_*", "a/b/run_3") && matches("**/run_*", "run_3"));
        assert!(matches("a/**/b/**/c", "a/b/x/b/y/c") && !matches("a/**/b/**/c", "a/x/c"));
        assert!(!matches("**/run_*", "a/run_3/x") && !matches("run", "runs"));
        assert!(matches("/exp/", "exp") && matches("exp", "exp/"));
        assert!(matches("/", "") && matches("**", "") && !matches("*", "") && !matches("/", "a"));
    }

    #[test]
    fn sets_marks_and_escapes_mean_one_character() {
        assert!(
            matches("run[0-35]", "run5") && matches("run[0-35]", "run2") && !matches("run[0-35]", "run4")
        );
        assert!(matches("[!ab]x", "cx") && !matches("[^ab]x", "ax"));
        assert!(matches("[]a]", "]") && matches("[a-]", "-") && matches("[\\]]", "]"));
        assert!(matches("?", "\u{e9}") && !matches("??", "\u{e9}") && !matches("*??", "\u{20ac}"));
        assert!(matches("lr=\\*", "lr=*") && !matches("lr=\\*", "lr=1"));
        assert!(matches("*a*b*c", "xxaxxbxxc") && !matches("*a*b*c", "xxaxxbxx"));
    }

    #[test]
    fn bytes_that_are_no_text_are_taken_by_wildcards() {
        let path: &[u8] = &[b'a', 0xff, b'b'];
        assert!(Glob::new("a?b").unwrap().matches(path) && Glob::new("a*").unwrap().matches(path));
        assert!(Glob::new("a[!x]b").unwrap().matches(path) && !Glob::new("a[x]b").unwrap().matches(path));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_reason() {
        for (pattern, reason) in [
            ("", "1 to"),
            ("a//b", "empty component"),
            ("../x", "'..'"),
            ("./x", "'.'"),
            ("run[0-3", "without its ]"),
            ("run[]", "without its ]"),
            ("run[3-0]", "3-0"),
            ("run\\", "backslash"),
        ] {
            let said = Glob::new(pattern).unwrap_err();
            assert!(said.contains(reason), "{pattern}: {said}");
        }
        assert!(Glob::new(&"a".repeat(5000)).is_err());
    }

    #[test]
    fn many_stars_cost_no_more_than_the_product_of_the_lengths() {
        let begin = std::time::Instant::now();
        let pattern = format!("{}b", "a*".repeat(120));
        assert!(!Glob::new(&pattern).unwrap().matches(&[b'a'; 255]));
        let deep = vec!["a"; 1000].join("/");
        assert!(!matches(&format!("{}b", "**/a/".repeat(60)), &deep));
        assert!(begin.elapsed().as_secs() < 5);
    }

    proptest! {
        #[test]
        fn a_path_without_wildcards_matches_itself_alone(path in "[a-z]{1,3}(/[a-z]{1,3}){0,3}", other in "[a-z]{1,3}(/[a-z]{1,3}){0,3}") {
            prop_assert!(matches(&path, &path));
            prop_assert_eq!(matches(&path, &other), path == other);
            prop_assert!(matches("**", &other));
        }

        #[test]
        fn any_pattern_and_any_path_are_survived(pattern in "[a*?/\\[\\]\\\\!-]{0,12}", path in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(glob) = Glob::new(&pattern) {
                glob.matches(&path);
            }
        }
    }
}
