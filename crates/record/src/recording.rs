//! The finished recording, its file format and its reader.
//!
//! The format is one JSON document; `docs/recording.md` describes it.

use crate::event::{Event, Kind};
use crate::model::Model;
use serde::{Deserialize, Serialize};

const FORMAT: &str = "stackless-recording";
const VERSION: u32 = 1;

/// Everything that was recorded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recording {
    format: String,
    version: u32,
    /// What was run.
    pub title: String,
    /// With which Python.
    pub python: String,
    /// How many events were dropped to make room; they happened before all of these.
    pub dropped: u64,
    /// How many texts and stacks were not kept, because there were too many.
    #[serde(default)]
    pub lost: u64,
    pub texts: Vec<String>,
    pub functions: Vec<String>,
    pub files: Vec<File>,
    /// `[parent, function, file, line]`; the first is the empty stack.
    pub stacks: Vec<[u32; 4]>,
    pub events: Vec<Event>,
}

/// A file of source code.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct File {
    pub name: String,
    /// Empty if it is not known.
    pub source: String,
}

/// Where a piece of code is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceLine {
    pub function: String,
    pub file: String,
    pub line: u32,
}

impl Recording {
    /// Without events, but for those that were dropped.
    pub fn new(dropped: u64) -> Self {
        Self {
            format: FORMAT.into(),
            version: VERSION,
            title: String::new(),
            python: String::new(),
            dropped,
            lost: 0,
            texts: Vec::new(),
            functions: Vec::new(),
            files: Vec::new(),
            stacks: Vec::new(),
            events: Vec::new(),
        }
    }

    /// The state after the first `count` events.
    pub fn replay(&self, count: usize) -> Model {
        let mut model = Model::default();
        self.events[..count].iter().for_each(|e| model.apply(e));
        model
    }

    /// The recording as it is saved.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers have a JSON form")
    }

    /// Reads what [`Recording::to_json`] wrote. The error says what is wrong with it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        /// What is looked at first, whatever else is there.
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head =
            serde_json::from_slice(bytes).map_err(|error| format!("this is no recording: {error}"))?;
        if head.format != FORMAT {
            return Err(format!("this is no recording: its format is {:?}, not {FORMAT:?}", head.format));
        }
        if head.version != VERSION {
            return Err(format!(
                "this recording has version {}; only version {VERSION} is understood",
                head.version
            ));
        }
        let recording: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("the recording is damaged: {error}"))?;
        recording.check()?;
        Ok(recording)
    }

    /// Do all numbers refer to something?
    fn check(&self) -> Result<(), String> {
        let texts = self.texts.len();
        let stacks = self.stacks.len();
        for (i, &[parent, function, file, _]) in self.stacks.iter().enumerate().skip(1) {
            let known = (parent as usize) < i
                && (function as usize) < self.functions.len()
                && (file as usize) < self.files.len();
            if !known {
                return Err(format!("the recording is damaged: stack {i} refers to what is not there"));
            }
        }
        for (i, e) in self.events.iter().enumerate() {
            let text_known = (e.text as usize) < texts || e.text == 0;
            let known = |stack: u32| (stack as usize) < stacks || stack == 0;
            let stack_known = known(e.stack) && (e.kind != Kind::Create || known(e.place));
            if !text_known || !stack_known {
                return Err(format!("the recording is damaged: event {i} refers to what is not there"));
            }
        }
        Ok(())
    }

    /// A text; the empty one for 0.
    pub fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", String::as_str)
    }

    /// The innermost place of a stack.
    pub fn place(&self, stack: u32) -> Option<SourceLine> {
        if stack == 0 {
            return None;
        }
        let &[_, function, file, line] = self.stacks.get(stack as usize)?;
        Some(SourceLine {
            function: self.functions[function as usize].clone(),
            file: self.files[file as usize].name.clone(),
            line,
        })
    }
}
