//! The literals of Python that a `.npy` header is made of.
//!
//! Depth is bounded, so nothing in a file can exhaust the stack.

/// Brackets within brackets beyond this are not a numpy type.
const DEPTH_MAX: usize = 32;

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Word(String),
    Text(String),
    Number(i128),
    /// A tuple or a list.
    Row(Vec<Literal>),
    Dict(Vec<(Literal, Literal)>),
}

/// The literal that `text` is, with nothing but white space around it.
pub(super) fn parse(text: &str) -> Option<Literal> {
    let mut parser = Parser { rest: text };
    let literal = parser.value(0)?;
    parser.rest.trim().is_empty().then_some(literal)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Option<Literal> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            '(' => self.row(')', depth),
            '[' => self.row(']', depth),
            '{' => self.dict(depth),
            quote @ ('\'' | '"') => self.text(quote),
            '0'..='9' | '-' => self.number(),
            _ => self.word(),
        }
    }

    /// Takes `mark` when it is next.
    fn eat(&mut self, mark: char) -> bool {
        match self.rest.trim_start().strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn row(&mut self, close: char, depth: usize) -> Option<Literal> {
        self.rest = self.rest.get(1..)?;
        let mut items = Vec::new();
        while !self.eat(close) {
            items.push(self.value(depth + 1)?);
            if !self.eat(',') && !self.rest.trim_start().starts_with(close) {
                return None;
            }
        }
        Some(Literal::Row(items))
    }

    fn dict(&mut self, depth: usize) -> Option<Literal> {
        self.rest = self.rest.get(1..)?;
        let mut pairs = Vec::new();
        while !self.eat('}') {
            let key = self.value(depth + 1)?;
            if !self.eat(':') {
                return None;
            }
            pairs.push((key, self.value(depth + 1)?));
            if !self.eat(',') && !self.rest.trim_start().starts_with('}') {
                return None;
            }
        }
        Some(Literal::Dict(pairs))
    }

    fn text(&mut self, quote: char) -> Option<Literal> {
        let mut text = String::new();
        let mut letters = self.rest.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                // The names of fields may hold any letter; only that the text ends in the right place matters.
                '\\' => text.push(letters.next()?.1),
                letter if letter == quote => {
                    self.rest = self.rest.get(at + 1..)?;
                    return Some(Literal::Text(text));
                }
                letter => text.push(letter),
            }
        }
        None
    }

    fn number(&mut self) -> Option<Literal> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at_checked(end)?;
        // Python 2 wrote long integers with an L.
        self.rest = rest.strip_prefix('L').unwrap_or(rest);
        digits.parse().ok().map(Literal::Number)
    }

    fn word(&mut self) -> Option<Literal> {
        let end = self.rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).filter(|(word, _)| !word.is_empty())?;
        self.rest = rest;
        Some(Literal::Word(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_numpy_is_read() {
        let Literal::Dict(pairs) =
            parse("{'descr': [('a', '<f4'), (\"b\\'\", '<i8', (3L,))], 'fortran_order': False, 'shape': (3, 4), } \n")
                .unwrap()
        else {
            panic!("not a dict")
        };
        assert_eq!(pairs[1].1, Literal::Word("False".into()));
        assert_eq!(pairs[2].1, Literal::Row(vec![Literal::Number(3), Literal::Number(4)]));
        let Literal::Row(fields) = &pairs[0].1 else { panic!("not a list") };
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn what_is_malformed_or_too_deep_is_refused() {
        for bad in ["", "(", "(1 2)", "{1}", "{1:2", "'a", "'a\\", "(1,)x", "--", "%", &"(".repeat(100_000)] {
            assert_eq!(parse(bad), None, "{}", bad.get(..10).unwrap_or(bad));
        }
        assert_eq!(parse("()"), Some(Literal::Row(Vec::new())));
    }
}
