//! Interned texts: values, labels, what was printed.

use rustc_hash::FxHashMap;

/// Every text of a recording, stored once. Number 0 is the empty text.
pub struct Texts {
    all: Vec<Box<str>>,
    numbers: FxHashMap<Box<str>, u32>,
    integers: FxHashMap<i64, u32>,
    bytes: usize,
    /// The number of texts that were not stored because there were too many.
    pub lost: u64,
}

/// The numbers of texts that every recording has.
impl Texts {
    pub const LOST: u32 = 1;
    pub const NONE: u32 = 2;
    pub const TRUE: u32 = 3;
    pub const FALSE: u32 = 4;
}

/// The maximum size of the texts of a recording. Beyond it, new texts become `…`.
const MAXIMUM_BYTES: usize = 64 << 20;
/// Roughly the memory that a text needs besides its letters, in bytes.
const OVERHEAD: usize = 64;

impl Texts {
    pub fn new() -> Self {
        let mut texts = Self {
            all: Vec::new(),
            numbers: FxHashMap::default(),
            integers: FxHashMap::default(),
            bytes: 0,
            lost: 0,
        };
        for text in ["", "…", "None", "True", "False"] {
            texts.intern(text);
        }
        texts
    }

    /// The number of this text.
    pub fn intern(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        if self.bytes + text.len() > MAXIMUM_BYTES {
            self.lost += 1;
            return Self::LOST;
        }
        self.bytes += text.len() + OVERHEAD;
        let number = self.all.len() as u32;
        self.all.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    /// The number of the text with this integer's digits. Faster than [`Texts::intern`].
    pub fn integer(&mut self, value: i64) -> u32 {
        if let Some(&number) = self.integers.get(&value) {
            return number;
        }
        let number = self.intern(&value.to_string());
        if number != Self::LOST {
            self.bytes += OVERHEAD;
            self.integers.insert(value, number);
        }
        number
    }

    pub fn get(&self, number: u32) -> &str {
        &self.all[number as usize]
    }

    pub fn into_all(self) -> Vec<String> {
        self.all.into_iter().map(String::from).collect()
    }
}

impl Default for Texts {
    fn default() -> Self {
        Self::new()
    }
}
