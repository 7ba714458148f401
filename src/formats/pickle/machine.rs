//! The stack machine: each opcode moves numbers of nodes, nothing is copied and nothing is called.

use super::Limits;
use super::op::{Arg, Op, Ops};
use super::tree::{Ended, Id, Node, Object, Tree};
use crate::base::Result;
use crate::formats::read::Reader;

/// The small integers that are one node each, however often they are named.
const SMALL: u32 = 256;

const NONE: Id = Id(SMALL);
const TRUE: Id = Id(SMALL + 1);
const FALSE: Id = Id(SMALL + 2);
const EMPTY: Id = Id(SMALL + 3);
const OPAQUE: Id = Id(SMALL + 4);

/// Reads one pickle from where `reader` is, within `limits`; afterwards `reader` is behind what was read.
pub(in crate::formats) fn read(reader: &mut Reader<'_>, limits: Limits) -> Result<Tree> {
    let mut machine = Machine::new(limits.nodes);
    let mut ops = Ops::new(reader, limits.bytes);
    let ended = loop {
        match ops.next()? {
            Err(ended) => break ended,
            Ok(_) if machine.is_full() => break Ended::Limit,
            Ok(Op { code: b'.', .. }) if machine.stack.is_empty() => break Ended::Malformed,
            Ok(Op { code: b'.', .. }) => break Ended::Stop,
            Ok(op) => match machine.apply(op) {
                Some(()) => {}
                None => break Ended::Malformed,
            },
        }
    };
    Ok(machine.tree(ended))
}

struct Machine {
    /// Nodes, and places on the stack, in the memo, among the marks and among names of what is stored outside, beyond
    /// which nothing is built.
    most: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: Vec<Id>,
    persistent: Vec<Id>,
}

impl Machine {
    fn new(most: usize) -> Self {
        let mut nodes: Vec<Node> = (0..i64::from(SMALL)).map(Node::Int).collect();
        // In the order of the constants above.
        nodes.extend([Node::None, Node::Bool, Node::Bool, Node::Row(Vec::new()), Node::Opaque]);
        let (stack, marks, memo, persistent) = Default::default();
        Machine { most, nodes, stack, marks, memo, persistent }
    }

    fn is_full(&self) -> bool {
        let places = [&self.stack, &self.memo, &self.persistent].iter().any(|list| list.len() >= self.most);
        places || self.nodes.len() >= self.most || self.marks.len() >= self.most
    }

    fn tree(mut self, ended: Ended) -> Tree {
        let root = match ended {
            Ended::Stop => self.stack.last().copied(),
            _ => self.unfinished(),
        };
        Tree { nodes: self.nodes, root: root.unwrap_or(OPAQUE), ended, persistent: self.persistent }
    }

    /// The value at the bottom of the stack, with the items that were waiting to be set on it.
    fn unfinished(&mut self) -> Option<Id> {
        let root = self.stack.first().copied()?;
        if self.marks.first() == Some(&1) {
            let end = self.marks.get(1).copied().unwrap_or(self.stack.len());
            let items = self.stack.get(1..end).map(pairs).unwrap_or_default();
            self.set_items(root, items);
        }
        Some(root)
    }

    fn apply(&mut self, op: Op) -> Option<()> {
        let made = match (op.code, op.arg) {
            (0x80 | 0x95 | 0x98, _) => return Some(()),
            (b'(', _) => {
                self.marks.push(self.stack.len());
                return Some(());
            }
            (b'0', _) => return self.pop().map(drop).or_else(|| self.marks.pop().map(drop)),
            (b'1', _) => return self.pop_mark().map(drop),
            (b'2', _) => self.stack.last().copied()?,
            (b'N', _) => NONE,
            (0x88, _) => TRUE,
            (0x89, _) => FALSE,
            (b'K' | b'M', Arg::Number(number)) => self.int(i64::try_from(number).ok()?),
            (b'J', Arg::Number(number)) => self.int(i64::from(u32::try_from(number).ok()?.cast_signed())),
            (b'G', Arg::Number(bits)) => self.add(Node::Float(f64::from_bits(bits.swap_bytes()))),
            (0x8a | 0x8b, arg) => self.long(&arg),
            (b'F' | b'I' | b'L', Arg::Line(line)) => self.number(&line)?,
            (b'S' | b'V', Arg::Line(line)) => self.text(&unquoted(line)),
            (b'T' | b'U', Arg::Kept(bytes)) => self.text(&bytes),
            (b'X' | 0x8c | 0x8d, Arg::Kept(bytes)) => self.text(&bytes),
            (b'B' | b'C' | 0x8e | 0x96, Arg::Kept(bytes)) => self.add(Node::Bytes(bytes.into())),
            (_, Arg::Long) | (0x82..=0x84 | 0x97, _) => OPAQUE,
            (b'}', _) => self.add(Node::Dict(Vec::new())),
            (b']' | 0x8f, _) => self.add(Node::Row(Vec::new())),
            (b')', _) => EMPTY,
            (b'c', Arg::Lines(module, name)) => self.global(&module, &name),
            (b'P', Arg::Line(line)) => {
                let name = self.text(&line);
                self.outside(name)
            }
            (b'h' | b'j', Arg::Number(place)) => self.recall(place)?,
            (b'g', Arg::Line(line)) => self.recall(place(&line)?)?,
            (b'q' | b'r', Arg::Number(place)) => return self.keep(place),
            (b'p', Arg::Line(line)) => return self.keep(place(&line)?),
            (0x94, _) => return self.keep(self.memo.len() as u64),
            (b'i', Arg::Lines(module, name)) => {
                let args = self.pop_mark()?;
                let (of, args) = (self.global(&module, &name), self.add(Node::Row(args)));
                self.object(of, args)
            }
            (code, _) => return self.combine(code),
        };
        self.stack.push(made);
        Some(())
    }

    /// The opcodes that take their operands from the stack.
    fn combine(&mut self, code: u8) -> Option<()> {
        if let b'a' | b'e' | 0x90 | b's' | b'u' | b'b' = code {
            return self.change(code);
        }
        let made = self.make(code)?;
        self.stack.push(made);
        Some(())
    }

    /// The opcodes that change what is below their operands.
    fn change(&mut self, code: u8) -> Option<()> {
        let items = match code {
            b'a' | b'b' => vec![self.pop()?],
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.pop_mark()?,
        };
        let target = self.top()?;
        if let b's' | b'u' = code {
            self.set_items(target, pairs(&items));
            return Some(());
        }
        match (code, self.node_mut(target)) {
            (b'b', Some(Node::Object(object))) => object.state = items.first().copied(),
            (b'a' | b'e' | 0x90, Some(Node::Row(row))) => row.extend(items),
            _ => {}
        }
        Some(())
    }

    /// The opcodes that make one value of their operands.
    fn make(&mut self, code: u8) -> Option<Id> {
        Some(match code {
            b't' | b'l' | 0x91 => {
                let items = self.pop_mark()?;
                self.add(Node::Row(items))
            }
            b'd' => {
                let items = self.pop_mark()?;
                self.add(Node::Dict(pairs(&items)))
            }
            0x85..=0x87 => {
                let mut items = (0x84..code).map(|_| self.pop()).collect::<Option<Vec<Id>>>()?;
                items.reverse();
                self.add(Node::Row(items))
            }
            b'Q' => {
                let name = self.pop()?;
                self.outside(name)
            }
            b'R' | 0x81 => {
                let (args, of) = (self.pop()?, self.pop()?);
                self.object(of, args)
            }
            0x92 => {
                let (_keywords, args, of) = (self.pop()?, self.pop()?, self.pop()?);
                self.object(of, args)
            }
            b'o' => {
                let mut items = self.pop_mark()?.into_iter();
                let of = items.next()?;
                let args = self.add(Node::Row(items.collect()));
                self.object(of, args)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                self.add(Node::Global(module, name))
            }
            _ => return None,
        })
    }

    fn add(&mut self, node: Node) -> Id {
        let id = Id(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        id
    }

    fn node_mut(&mut self, id: Id) -> Option<&mut Node> {
        // What is one node for all its uses must not be changed through one of them.
        let own = id.0 > OPAQUE.0;
        usize::try_from(id.0).ok().filter(|_| own).and_then(|at| self.nodes.get_mut(at))
    }

    /// Takes the top of the stack, down to the last mark.
    fn pop(&mut self) -> Option<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() > floor { self.stack.pop() } else { None }
    }

    /// Takes all above the last mark, and the mark.
    fn pop_mark(&mut self) -> Option<Vec<Id>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len())?;
        Some(self.stack.split_off(mark))
    }

    fn top(&self) -> Option<Id> {
        self.stack.last().copied()
    }

    fn set_items(&mut self, target: Id, items: Vec<(Id, Id)>) {
        match self.node_mut(target) {
            Some(Node::Dict(pairs)) => pairs.extend(items),
            Some(Node::Object(object)) => object.items.extend(items),
            _ => {}
        }
    }

    fn recall(&self, place: u64) -> Option<Id> {
        usize::try_from(place).ok().and_then(|place| self.memo.get(place)).copied()
    }

    fn keep(&mut self, place: u64) -> Option<()> {
        let place = usize::try_from(place).ok().filter(|place| *place < self.most)?;
        let top = self.top()?;
        if place >= self.memo.len() {
            self.memo.resize(place + 1, OPAQUE);
        }
        self.memo.get_mut(place).map(|kept| *kept = top)
    }

    fn int(&mut self, number: i64) -> Id {
        match u32::try_from(number) {
            Ok(small) if small < SMALL => Id(small),
            _ => self.add(Node::Int(number)),
        }
    }

    /// An integer of any length, little-endian in two's complement; one of more than eight bytes is not told.
    fn long(&mut self, arg: &Arg) -> Id {
        let Arg::Kept(bytes) = arg else { return OPAQUE };
        let sign = if bytes.last().is_some_and(|last| *last >= 0x80) { 0xff } else { 0 };
        let mut wide = [sign; 8];
        for (to, from) in wide.iter_mut().zip(bytes) {
            *to = *from;
        }
        if bytes.len() > wide.len() { OPAQUE } else { self.int(i64::from_le_bytes(wide)) }
    }

    /// A number as protocol 0 writes it.
    fn number(&mut self, line: &[u8]) -> Option<Id> {
        let text = std::str::from_utf8(line).ok()?;
        Some(match text {
            "00" => FALSE,
            "01" => TRUE,
            text => match text.trim_end_matches('L').parse() {
                Ok(number) => self.int(number),
                Err(_) => self.add(text.parse().map_or(Node::Opaque, Node::Float)),
            },
        })
    }

    fn text(&mut self, bytes: &[u8]) -> Id {
        let node = match std::str::from_utf8(bytes) {
            Ok(text) => Node::Text(text.into()),
            Err(_) => Node::Bytes(bytes.into()),
        };
        self.add(node)
    }

    fn global(&mut self, module: &[u8], name: &[u8]) -> Id {
        let (module, name) = (self.text(module), self.text(name));
        self.add(Node::Global(module, name))
    }

    fn outside(&mut self, name: Id) -> Id {
        self.persistent.push(name);
        self.add(Node::Persistent(name))
    }

    fn object(&mut self, of: Id, args: Id) -> Id {
        self.add(Node::Object(Box::new(Object { of, args, state: None, items: Vec::new() })))
    }
}

/// Keys and values, from a run of both in turn. A key without a value is left out.
fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    let (pairs, _) = items.as_chunks::<2>();
    pairs.iter().map(|[key, value]| (*key, *value)).collect()
}

/// The text of protocol 0 without its quotes.
fn unquoted(line: Vec<u8>) -> Vec<u8> {
    match line.as_slice() {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner.to_vec(),
        _ => line,
    }
}

/// A place in the memo as protocol 0 writes it.
fn place(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}
