//! Interned call stacks: a tree, in which a stack is a node and its callers are the nodes up to the root.

use rustc_hash::FxHashMap;

/// Every call stack of a recording, stored once. Number 0 is the empty stack.
pub struct Stacks {
    nodes: Vec<Node>,
    numbers: FxHashMap<Node, u32>,
    /// The number of stacks that were not stored because there were too many.
    pub lost: u64,
}

/// A position in a piece of code, called from the position `parent`. The caller defines what `code` and `at`
/// are: an address, and an offset in the code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    pub parent: u32,
    pub at: u32,
    pub code: usize,
}

/// The code of a node that represents frames which were left out.
pub const CUT: usize = 0;
const MAXIMUM_NODES: usize = 4 << 20;

impl Stacks {
    pub fn new() -> Self {
        let root = Node { parent: 0, at: 0, code: CUT };
        Self { nodes: vec![root], numbers: FxHashMap::default(), lost: 0 }
    }

    /// The stack that has this position on top of `parent`. `is_new` is called if there was no such stack before.
    #[inline]
    pub fn push(&mut self, parent: u32, code: usize, at: u32, is_new: impl FnOnce()) -> u32 {
        let node = Node { parent, at, code };
        match self.numbers.get(&node) {
            Some(&number) => number,
            None => self.add(node, is_new),
        }
    }

    #[cold]
    fn add(&mut self, node: Node, is_new: impl FnOnce()) -> u32 {
        if self.nodes.len() >= MAXIMUM_NODES {
            self.lost += 1;
            return node.parent;
        }
        is_new();
        let number = self.nodes.len() as u32;
        self.nodes.push(node);
        self.numbers.insert(node, number);
        number
    }

    /// All nodes; a parent is before its children.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

impl Default for Stacks {
    fn default() -> Self {
        Self::new()
    }
}
