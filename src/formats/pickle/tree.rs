//! What a pickle says, as a tree in one vector: nodes name each other by number, so nothing here recurses.

/// How far a key is searched for.
const FOUND_MAX: usize = 10_000;

/// The number of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::formats) struct Id(pub(super) u32);

/// How the reading of a pickle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::formats) enum Ended {
    /// At its STOP: all of it was read.
    Stop,
    /// The bytes ended first.
    Cut,
    /// At what is no opcode, or one that the stack does not fit.
    Malformed,
    /// At one of the limits.
    Limit,
}

/// One value.
#[derive(Debug)]
pub(in crate::formats) enum Node {
    None,
    /// True or false: neither is a number that anybody looks for.
    Bool,
    Int(i64),
    Float(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    /// A class or a function: the texts of its module and of its name.
    Global(Id, Id),
    /// A list, a tuple or a set.
    Row(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// What a call would have made.
    Object(Box<Object>),
    /// What is stored outside the pickle, and how it is called there.
    Persistent(Id),
    /// Anything else.
    Opaque,
}

/// A call that was not made.
#[derive(Debug)]
pub(in crate::formats) struct Object {
    /// What would have been called.
    pub(super) of: Id,
    /// With what.
    pub(super) args: Id,
    /// The state that would have been set afterwards.
    pub(super) state: Option<Id>,
    /// The items that would have been set, for a kind of dict.
    pub(super) items: Vec<(Id, Id)>,
}

/// A pickle that was read.
#[derive(Debug)]
pub(in crate::formats) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// What it is; when it did not end with STOP, what was at the bottom of the stack.
    pub(in crate::formats) root: Id,
    /// How it ended.
    pub(in crate::formats) ended: Ended,
    /// The names of what is stored outside, in order of their first use, each as often as it is used.
    pub(in crate::formats) persistent: Vec<Id>,
}

impl Tree {
    /// The node `id`.
    pub(in crate::formats) fn node(&self, id: Id) -> &Node {
        usize::try_from(id.0).ok().and_then(|at| self.nodes.get(at)).unwrap_or(&Node::Opaque)
    }

    /// Every node.
    pub(in crate::formats) fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        (0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)).map(Id)
    }

    /// The text that `id` is.
    pub(in crate::formats) fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer that `id` is.
    pub(in crate::formats) fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The items of a list or tuple; none for anything else.
    pub(in crate::formats) fn row(&self, id: Id) -> &[Id] {
        match self.node(id) {
            Node::Row(items) => items,
            _ => &[],
        }
    }

    /// The keys and values of a dict or of an object that is a kind of dict; none for anything else.
    pub(in crate::formats) fn pairs(&self, id: Id) -> &[(Id, Id)] {
        match self.node(id) {
            Node::Dict(pairs) => pairs,
            Node::Object(object) => &object.items,
            _ => &[],
        }
    }

    /// The value under the text `key` in a dict, among its last [`FOUND_MAX`] entries.
    pub(in crate::formats) fn get(&self, id: Id, key: &str) -> Option<Id> {
        self.pairs(id)
            .iter()
            .rev()
            .take(FOUND_MAX)
            .find(|(name, _)| self.text(*name) == Some(key))
            .map(|(_, value)| *value)
    }

    /// The module and the name of a class or function.
    pub(in crate::formats) fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.node(id) {
            Node::Global(module, name) => Some((self.text(*module)?, self.text(*name)?)),
            _ => None,
        }
    }

    /// The module and the name of what would have made an object, and the arguments.
    pub(in crate::formats) fn call(&self, id: Id) -> Option<(&str, &str, &[Id])> {
        match self.node(id) {
            Node::Object(object) => {
                let (module, name) = self.global(object.of)?;
                Some((module, name, self.row(object.args)))
            }
            _ => None,
        }
    }

    /// The state that an object would have been given.
    pub(in crate::formats) fn state(&self, id: Id) -> Option<Id> {
        match self.node(id) {
            Node::Object(object) => object.state,
            _ => None,
        }
    }
}
