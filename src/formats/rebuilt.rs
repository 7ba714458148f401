//! The tensors that a pickle of torch would rebuild, each under the names that lead to it: keys of dicts, places in lists,
//! what an object keeps.
//!
//! Nothing is rebuilt: the calls that would do it are read. The walk is bounded in depth, in steps and in bytes of names,
//! because one value may be met on any number of ways.

use std::collections::HashMap;

use super::describe::{Described, SIDES_MAX};
use super::pickle::{Id, Node, Tree};
use super::tensors::TENSORS_MAX;
use super::{dtype, torch};

/// The deepest nesting that is followed.
const DEPTH_MAX: usize = 64;
/// Values that are looked at.
const STEPS_MAX: usize = 1 << 23;
/// All names together, in bytes.
const NAMES_MAX: usize = 64 << 20;
/// A single name beyond this, in bytes, is not followed.
const NAME_MAX: usize = 4096;
/// Keys that are no part of a name: how modules keep what their state dicts name, and a shard its numbers.
const UNNAMED: &[&str] = &["_parameters", "_buffers", "_modules", "_local_tensor"];

/// Offset and length in the file of each storage by its key.
pub(super) type Storages = HashMap<String, (u64, u64)>;

/// The tensors below the root of `tree`; `native` when their bytes are in the order of a little-endian machine.
pub(super) fn described(tree: &Tree, storages: &Storages, native: bool) -> Vec<Described> {
    let mut walk = Walk {
        tree,
        storages,
        native,
        name: String::new(),
        way: Vec::new(),
        steps: STEPS_MAX,
        names: NAMES_MAX,
        found: Vec::new(),
    };
    walk.visit(tree.root);
    walk.found
}

struct Walk<'a> {
    tree: &'a Tree,
    storages: &'a Storages,
    native: bool,
    /// Of the value that is looked at.
    name: String,
    /// The values above it.
    way: Vec<Id>,
    steps: usize,
    names: usize,
    found: Vec<Described>,
}

impl Walk<'_> {
    fn visit(&mut self, id: Id) {
        let holds = matches!(self.tree.node(id), Node::Row(_) | Node::Dict(_) | Node::Object(_));
        // A value may hold itself, by its memo.
        if !holds || self.way.len() >= DEPTH_MAX || self.is_spent() || self.way.contains(&id) {
            return;
        }
        self.way.push(id);
        match self.tree.call(id) {
            Some((module, function, args)) => self.call(id, module, function, args),
            None => self.items(id),
        }
        self.way.pop();
    }

    fn spend(&mut self, steps: usize) {
        self.steps = self.steps.saturating_sub(steps);
    }

    fn is_spent(&mut self) -> bool {
        self.spend(1);
        self.steps == 0 || self.names < self.name.len() || self.found.len() >= TENSORS_MAX
    }

    /// What a call would have made: a tensor, what wraps one, or an object.
    fn call(&mut self, id: Id, module: &str, function: &str, args: &[Id]) {
        match (function, args) {
            ("_rebuild_parameter" | "_rebuild_parameter_with_state", [inner, ..]) => self.visit(*inner),
            ("_rebuild_from_type_v2", [of, _, inner, state, ..]) => {
                let inner = (self.tree.global(*of), self.tree.row(*inner));
                match inner {
                    // A tensor that is made of others, such as a shard of one: they are its state.
                    (Some((_, "_rebuild_wrapper_subclass")), [_, _, whole, ..]) => {
                        self.wrapper(*whole, *state)
                    }
                    (Some((_, "_rebuild_parameter" | "_rebuild_parameter_with_state")), [data, ..]) => {
                        self.visit(*data);
                    }
                    (Some((_, function)), args) => drop(self.tensor(function, args)),
                    _ => {}
                }
            }
            ("_rebuild_sparse_tensor", [_, parts]) => {
                let parts = self.tree.row(*parts);
                for (part, id) in ["indices", "values"].iter().zip(parts) {
                    self.under(part, *id);
                }
            }
            ("OrderedDict", [pairs]) if module == "collections" => {
                let pairs = self.tree.row(*pairs);
                self.spend(pairs.len());
                for pair in pairs {
                    if let [key, value] = self.tree.row(*pair) {
                        self.key(*key, *value);
                    }
                }
            }
            (function, args) => {
                if self.tensor(function, args).is_none() {
                    self.object(id, args);
                }
            }
        }
    }

    /// Whatever an object holds: what it was made of, its state, its items.
    fn object(&mut self, id: Id, args: &[Id]) {
        self.spend(args.len());
        for (place, arg) in args.iter().enumerate() {
            self.place(place, *arg);
        }
        if let Some(state) = self.tree.state(id) {
            self.states(state).into_iter().for_each(|state| self.visit(state));
        }
        self.items(id);
    }

    fn items(&mut self, id: Id) {
        let tree = self.tree;
        self.spend(tree.row(id).len() + tree.pairs(id).len());
        for (place, item) in tree.row(id).iter().enumerate() {
            self.place(place, *item);
        }
        for (key, value) in tree.pairs(id) {
            self.key(*key, *value);
        }
    }

    /// A tensor whose numbers are another's, which is a part of it.
    fn wrapper(&mut self, whole: Id, state: Id) {
        let (tree, first) = (self.tree, self.found.len());
        let states = self.states(state);
        self.spend(states.iter().map(|state| tree.pairs(*state).len()).sum());
        match states.iter().find_map(|state| tree.get(*state, "_local_tensor")) {
            Some(local) => self.visit(local),
            None => return states.into_iter().for_each(|state| self.visit(state)),
        }
        let whole = sides(tree, whole);
        for row in self.found.iter_mut().skip(first) {
            row.global_shape.clone_from(&whole);
        }
    }

    /// The dicts of a state: an object with slots has a pair of them, the first of which may be none.
    fn states(&self, state: Id) -> Vec<Id> {
        let is_dict = |id: Id| matches!(self.tree.node(id), Node::Dict(_));
        match self.tree.row(state) {
            [plain, slots] if is_dict(*slots) => vec![*plain, *slots],
            _ => vec![state],
        }
    }

    fn place(&mut self, place: usize, id: Id) {
        // Long lists are of numbers: no name is made for those.
        if matches!(self.tree.node(id), Node::Row(_) | Node::Dict(_) | Node::Object(_)) {
            self.under(&place.to_string(), id);
        }
    }

    fn key(&mut self, key: Id, id: Id) {
        match self.tree.node(key) {
            Node::Text(text) if UNNAMED.contains(&text.as_ref()) => self.visit(id),
            Node::Text(text) => self.under(text, id),
            Node::Int(number) => self.under(&number.to_string(), id),
            _ => self.under("?", id),
        }
    }

    /// Visits `id` as what `part` leads to.
    fn under(&mut self, part: &str, id: Id) {
        let before = self.name.len();
        if before + part.len() >= NAME_MAX {
            return;
        }
        if before > 0 {
            self.name.push('.');
        }
        self.name.push_str(part);
        self.visit(id);
        self.name.truncate(before);
    }

    /// Takes the tensor that `function` would have made; `None` when it makes none.
    fn tensor(&mut self, function: &str, args: &[Id]) -> Option<()> {
        let tree = self.tree;
        let row = match (function, args) {
            ("_rebuild_tensor_v3", [storage, offset, shape, strides, _, _, dtype, ..]) => {
                let (_, dtype) = tree.global(*dtype)?;
                self.stored(*storage, *offset, *shape, *strides, Some(dtype))?
            }
            (
                "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_qtensor",
                [storage, offset, shape, strides, ..],
            ) => {
                let mut row = self.stored(*storage, *offset, *shape, *strides, None)?;
                // What torch notes of it beside: that it is conjugated or negated.
                row.encoded |= args.get(6).is_some_and(|notes| !tree.pairs(*notes).is_empty());
                row
            }
            ("_rebuild_meta_tensor_no_storage", [dtype, shape, ..]) => Described {
                dtype: dtype::of_torch(tree.global(*dtype)?.1),
                shape: sides(tree, *shape)?,
                ..Described::default()
            },
            _ => return None,
        };
        self.names = self.names.saturating_sub(self.name.len());
        self.found.push(Described { name: self.name.clone(), ..row });
        Some(())
    }

    /// A tensor in a storage: its offset in elements, its sides, and how many elements lie between two along each.
    fn stored(
        &self,
        storage: Id,
        offset: Id,
        shape: Id,
        strides: Id,
        dtype: Option<&str>,
    ) -> Option<Described> {
        let tree = self.tree;
        let Node::Persistent(name) = tree.node(storage) else { return None };
        let [_, class, key, _, _, view @ ..] = tree.row(*name) else { return None };
        let (_, class) = tree.global(*class)?;
        let offset = u64::try_from(tree.int(offset)?).ok()?;
        // Old files may say that the storage itself begins within another.
        let view = view.first().and_then(|view| tree.row(*view).get(1)).and_then(|begin| tree.int(*begin));
        let offset = offset.saturating_add(view.and_then(|begin| u64::try_from(begin).ok()).unwrap_or(0));
        let (shape, strides) = (sides(tree, shape)?, sides(tree, strides)?);
        let dtype = dtype::of_torch(dtype.unwrap_or(class));
        let element = dtype::element_bytes(&dtype).or_else(|| torch::element_bytes(class));
        let place = tree.text(*key).and_then(|key| self.storages.get(key));
        let part = place.and_then(|(begin, len)| {
            let (offset, span) =
                (offset.checked_mul(element?)?, span(&shape, &strides)?.checked_mul(element?)?);
            (offset.checked_add(span)? <= *len).then_some((begin.checked_add(offset)?, span))
        });
        let encoded = !self.native || !is_contiguous(&shape, &strides);
        Some(Described { dtype, shape, parts: part.into_iter().collect(), encoded, ..Described::default() })
    }
}

/// The sides of a shape: a tuple, or `torch.Size` of one.
pub(super) fn sides(tree: &Tree, id: Id) -> Option<Vec<u64>> {
    let sides = match tree.call(id) {
        Some(("torch", "Size", [sides])) => tree.row(*sides),
        Some(_) => return None,
        None => tree.row(id),
    };
    let sides = Some(sides).filter(|sides| sides.len() <= SIDES_MAX)?;
    sides.iter().map(|side| u64::try_from(tree.int(*side)?).ok()).collect()
}

/// How many elements lie from the first to the last one, both included.
fn span(shape: &[u64], strides: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    let steps = shape.iter().zip(strides);
    steps
        .map(|(side, stride)| (side - 1).checked_mul(*stride))
        .try_fold(1_u64, |sum, step| sum.checked_add(step?))
}

/// Whether the elements lie one after the other in row-major order.
fn is_contiguous(shape: &[u64], strides: &[u64]) -> bool {
    let mut wanted = 1_u64;
    let mut in_order =
        shape.iter().zip(strides).rev().filter(|(side, _)| **side != 1).map(|(side, stride)| {
            let fits = *stride == wanted;
            wanted = wanted.saturating_mul(*side);
            fits
        });
    shape.contains(&0) || shape.len() == strides.len() && in_order.all(|fits| fits)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::formats::pickle::{self, Limits};
    use crate::formats::read::Reader;
    use crate::formats::samples::Bytes;

    /// A tensor of two floats in the storage `0`.
    const TENSOR: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89Nt";

    fn found(pickle: &[u8]) -> Vec<Described> {
        let tree = pickle::read(&mut Reader::new(&Bytes::new(pickle), 0, u64::MAX), Limits::TABLE).unwrap();
        assert_eq!(tree.ended, pickle::Ended::Stop);
        described(&tree, &HashMap::from([("0".to_owned(), (100, 8))]), true)
    }

    /// Where `part` begins last.
    fn at(pickle: &[u8], part: &[u8]) -> usize {
        pickle.windows(part.len()).rposition(|window| window == part).unwrap()
    }

    fn names(pickle: &[u8]) -> Vec<String> {
        found(pickle).into_iter().map(|row| row.name).collect()
    }

    #[test]
    fn each_way_to_a_tensor_is_a_name() {
        let tensor = &[TENSOR, b"R"].concat()[..];
        let bare = found(&[b"\x80\x02", tensor, b"."].concat());
        let wanted =
            Described { dtype: "f32".into(), shape: vec![2], parts: vec![(100, 8)], ..Described::default() };
        assert_eq!(bare, [wanted]);
        let dict = [b"\x80\x02}(X\x01\0\0\0a", tensor, b"q\x07K\x05h\x07X\x03\0\0\0b.c]h\x07au."].concat();
        assert_eq!(names(&dict), ["a", "5", "b.c.0"]);
        // As Python 2 wrote it: the items are an argument.
        let ordered = [b"\x80\x02ccollections\nOrderedDict\n](X\x01\0\0\0w", tensor, b"\x86e\x85R."].concat();
        assert_eq!(names(&ordered), ["w"]);
        let module = [
            b"\x80\x02cmy\nNet\n)\x81}(X\x08\0\0\0_modules}X\x02\0\0\0fccnn\nLinear\n)\x81}X\x0b\0\0\0_parameters}X\x01\0\0\0w",
            tensor,
            b"ssbsub.",
        ]
        .concat();
        assert_eq!(names(&module), ["fc.w"]);
    }

    #[test]
    fn a_shard_of_a_tensor_tells_the_shape_of_the_whole() {
        let pickle = [
            b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_wrapper_subclass\nN(NNK\x04\x85t",
            &b"}X\x0d\0\0\0_local_tensor"[..],
            TENSOR,
            b"RstR.",
        ]
        .concat();
        // What has slots has a pair of states.
        let slots = [
            &pickle[..at(&pickle, b"}X")],
            b"N",
            &pickle[at(&pickle, b"}X")..at(&pickle, b"tR.")],
            b"\x86tR.",
        ];
        assert_eq!(found(&slots.concat()), found(&pickle));
        let rows = found(&pickle);
        assert_eq!((rows.len(), rows[0].shape.as_slice()), (1, &[2][..]));
        assert_eq!((rows[0].name.as_str(), rows[0].global_shape.as_deref()), ("", Some(&[4][..])));
    }

    #[test]
    fn what_does_not_fit_its_storage_has_no_bytes() {
        let longer = [b"\x80\x02", &TENSOR[..TENSOR.len() - 9], b"K\x03\x85K\x01\x85\x89NtR."].concat();
        let row = &found(&longer)[0];
        assert_eq!((row.shape.as_slice(), row.parts.len()), (&[3][..], 0));
    }

    #[test]
    fn a_value_that_holds_itself_and_one_met_a_billion_times_come_to_an_end() {
        let tensor = &[TENSOR, b"R"].concat()[..];
        let own = [b"\x80\x02]q\0(h\0", tensor, b"e."].concat();
        assert_eq!(names(&own), ["1"]);
        let begin = Instant::now();
        let doubled: Vec<u8> =
            (1..60_u8).flat_map(|n| [&b"h"[..], &[n - 1], b"h", &[n - 1], b"\x86q", &[n]].concat()).collect();
        let laughs = [b"\x80\x02", tensor, b"q\0", &doubled, b"."].concat();
        let rows = found(&laughs);
        assert!(!rows.is_empty() && rows.len() <= TENSORS_MAX);
        assert!(rows.iter().map(|row| row.name.len()).sum::<usize>() <= NAMES_MAX);
        let long = [b"\x80\x02](", &b"K\x01".repeat(1 << 20)[..], b"eq\0](", &b"h\0".repeat(1 << 20), b"e."]
            .concat();
        assert_eq!(found(&long), []);
        assert!(begin.elapsed() < Duration::from_secs(20), "took {:?}", begin.elapsed());
    }
}
