//! Texts that are kept once: values, labels, what was printed.

use rustc_hash::FxHashMap;

/// Every text of a recording. Number 0 is the empty one.
pub struct Texts {
    all: Vec<Box<str>>,
    numbers: FxHashMap<Box<str>, u32>,
    integers: FxHashMap<i64, u32>,
    bytes: usize,
    /// Texts that were not kept, because there were too many.
    pub lost: u64,
}

/// The numbers of texts that are there from the beginning.
impl Texts {
    pub const LOST: u32 = 1;
    pub const NONE: u32 = 2;
    pub const TRUE: u32 = 3;
    pub const FALSE: u32 = 4;
}

/// The most bytes of texts that a recording keeps. Beyond it, new texts become `…`.
const MOST_BYTES: usize = 64 << 20;
/// What a text costs besides its letters, roughly.
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
        if self.bytes + text.len() > MOST_BYTES {
            self.lost += 1;
            return Self::LOST;
        }
        self.bytes += text.len() + OVERHEAD;
        let number = self.all.len() as u32;
        self.all.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    /// The number of this integer's digits: the same as of the text, sooner.
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
