//! YAML as the agent's settings have it: values by their keys, whatever the file contains.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::system::text::printable;

/// How deep maps and lists may be nested; the agent's settings have about six levels.
const MAX_DEPTH: usize = 32;

/// A value in a YAML file. What an alias stands for is shared, never copied: no file can grow while it is read.
#[derive(Debug, Clone)]
pub enum Node {
    Text(String),
    List(Vec<Rc<Node>>),
    Map(BTreeMap<String, Rc<Node>>),
    Nothing,
}

impl Node {
    /// The value of a key, or of one of the map or maps that this one extends (`<<`); nothing if this is no map, or has no such key.
    pub fn get(&self, key: &str) -> &Node {
        self.find(key, &mut BTreeSet::new())
            .unwrap_or(&Node::Nothing)
    }

    /// A map that many extend is looked at once: with lists in lists of such maps, the number of ways to it may be exponential.
    fn find(&self, key: &str, seen: &mut BTreeSet<*const Node>) -> Option<&Node> {
        let Node::Map(entries) = self else {
            return None;
        };
        if !seen.insert(self) {
            return None;
        }
        if let Some(value) = entries.get(key) {
            return Some(value);
        }
        match entries.get("<<")?.as_ref() {
            Node::List(extended) => extended.iter().find_map(|map| map.find(key, seen)),
            extended => extended.find(key, seen),
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// The text of a scalar, or of those in a list.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Node::List(items) => items.iter().filter_map(|item| item.text()).collect(),
            other => other.text().into_iter().collect(),
        }
    }
}

/// A value, and how many levels of lists and maps are in it.
type Measured = (Rc<Node>, usize);

/// A list or map whose end has not been seen.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<String>,
    /// The levels of what is in it.
    levels: usize,
}

impl Open {
    fn new(node: Node, anchor: usize) -> Open {
        Open {
            node,
            anchor,
            key: None,
            levels: 0,
        }
    }

    fn add(&mut self, (node, levels): Measured) {
        self.levels = self.levels.max(levels);
        match (&mut self.node, self.key.take()) {
            (Node::List(items), _) => items.push(node),
            (Node::Map(entries), Some(key)) => drop(entries.insert(key, node)),
            // A key that is not text is none that is looked for.
            _ => self.key = Some(node.text().unwrap_or_default().to_string()),
        }
    }
}

/// Reads the first document of a YAML text. If something is wrong with it, what precedes that counts: the file may be being written at
/// this moment, and a host of the cluster itself must still be recognized.
pub fn parse(text: &str) -> (Rc<Node>, Option<String>) {
    let mut open = Vec::new();
    match read(text, &mut open) {
        Ok(root) => (root, None),
        Err(problem) => (Rc::new(closed(open)), Some(problem)),
    }
}

/// What was read of the lists and maps whose ends were not.
fn closed(open: Vec<Open>) -> Node {
    let into = |inner: Open, mut outer: Open| {
        outer.add((Rc::new(inner.node), 0));
        outer
    };
    open.into_iter()
        .rev()
        .reduce(into)
        .map_or(Node::Nothing, |outermost| outermost.node)
}

/// Reads the first document. What has begun and not ended is in `open`.
fn read(text: &str, open: &mut Vec<Open>) -> Result<Rc<Node>, String> {
    let mut anchors: BTreeMap<usize, Measured> = BTreeMap::new();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, _) =
            event.map_err(|error| format!("not YAML: {}", printable(&error.to_string(), 120)))?;
        let (value, anchor) = match event {
            Event::MappingStart(anchor, _) => {
                open.push(Open::new(Node::Map(BTreeMap::new()), anchor));
                within_limits(open.len())?;
                continue;
            }
            Event::SequenceStart(anchor, _) => {
                open.push(Open::new(Node::List(Vec::new()), anchor));
                within_limits(open.len())?;
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                let Some(ended) = open.pop() else { break };
                ((Rc::new(ended.node), ended.levels + 1), ended.anchor)
            }
            Event::Scalar(text, style, anchor, _) => ((Rc::new(scalar(&text, style)), 0), anchor),
            Event::Alias(anchor) => (
                anchors
                    .get(&anchor)
                    .cloned()
                    .unwrap_or_else(|| (Rc::new(Node::Nothing), 0)),
                0,
            ),
            Event::DocumentEnd | Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
        };
        within_limits(open.len() + value.1)?;
        if anchor > 0 {
            anchors.insert(anchor, value.clone());
        }
        match open.last_mut() {
            Some(outer) => outer.add(value),
            None => return Ok(value.0),
        }
    }
    Ok(Rc::new(Node::Nothing))
}

/// Values are dropped recursively: with too many levels that would overflow the stack.
fn within_limits(levels: usize) -> Result<(), String> {
    if levels > MAX_DEPTH {
        Err(format!("nested more than {MAX_DEPTH} levels deep"))
    } else {
        Ok(())
    }
}

/// `~`, `null` and an empty value are nothing, unless they are quoted.
fn scalar(text: &str, style: ScalarStyle) -> Node {
    let is_plain = matches!(style, ScalarStyle::Plain);
    if is_plain && ["", "~", "null"].contains(&text) {
        Node::Nothing
    } else {
        Node::Text(text.to_string())
    }
}

#[cfg(test)]
mod tests;
