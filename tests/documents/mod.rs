//! The documents for users, taken apart into code blocks and the commands in them.

use std::fs;
use std::path::Path;

/// The kinds of code blocks that the documents may have, by what stands behind the fence.
pub(crate) const KINDS: [(&str, Kind); 9] = [
    ("sh", Kind::Lab),
    ("console", Kind::Transcript),
    ("json", Kind::Configuration),
    ("text", Kind::Text),
    ("sh,ci", Kind::Ci),
    ("sh,build", Kind::Build),
    ("sh,system", Kind::System),
    ("sh,router", Kind::Router),
    ("sh,terminal", Kind::Terminal),
];

/// What becomes of a code block in the tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Commands, run in the lab; each must succeed.
    Lab,
    /// Commands with their output, run in the lab; the output must be the same.
    Transcript,
    /// A whole configuration, which must be valid.
    Configuration,
    /// Output, or a part of another program's configuration.
    Text,
    /// Commands that .ci/run runs.
    Ci,
    /// Commands that download a toolchain or take minutes. Not run; their arguments are checked.
    Build,
    /// Commands that change the system, or another machine. Not run; their arguments are checked.
    System,
    /// Commands for OpenWrt. Not run; their arguments are checked.
    Router,
    /// Commands that ask questions or run until they are stopped. Not run; their arguments are
    /// checked.
    Terminal,
}

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// Document and line of the fence, for messages.
    pub(crate) place: String,
    /// What stands behind the fence.
    pub(crate) tag: String,
    /// What the lab has to be like: the text of a comment `<!-- lab: … -->` in the line before.
    pub(crate) lab: Option<String>,
    /// The lines of the block, each with its end.
    pub(crate) text: String,
}

impl Block {
    /// Its kind; `None` if the tag is none of [`KINDS`].
    pub(crate) fn kind(&self) -> Option<Kind> {
        KINDS.iter().find(|(tag, _)| *tag == self.tag).map(|(_, kind)| *kind)
    }
}

/// A file of the project.
pub(crate) fn file(name: &str) -> String {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The README and the pages of the guide, by their paths in the project.
pub(crate) fn users() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut pages: Vec<String> = names.map(|name| format!("docs/guide/{name}")).collect();
    pages.sort();
    pages.insert(0, "README.md".to_owned());
    pages
}

/// The code blocks of a document, in order.
pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let text = file(document);
    let mut blocks = Vec::new();
    let (mut before, mut open): (&str, Option<Block>) = ("", None);
    for (at, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(tag)) => {
                let lab =
                    before.strip_prefix("<!-- lab: ").and_then(|rest| rest.strip_suffix(" -->"));
                open = Some(Block {
                    place: format!("{document}:{}", at + 1),
                    tag: tag.to_owned(),
                    lab: lab.map(str::to_owned),
                    text: String::new(),
                });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
        before = line;
    }
    if let Some(block) = open {
        panic!("{} does not end", block.place);
    }
    blocks
}

/// The commands of a block of shell, each as words without quotes, `sudo` left out. Knows as much
/// of the shell as the documents need: comments, quotes, lines that are continued, and commands
/// separated by line ends, `;`, `&&`, `||` and `|`.
pub(crate) fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut command: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') if characters.peek() == Some(&'\n') => _ = characters.next(),
            (None, '#') if word.is_none() => while characters.next_if(|c| *c != '\n').is_some() {},
            (None, '\n' | ';' | '&' | '|') => {
                command.extend(word.take());
                commands.push(std::mem::take(&mut command));
            }
            (None, c) if c.is_whitespace() => command.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    command.extend(word);
    commands.push(command);
    for command in &mut commands {
        if command.first().is_some_and(|word| word == "sudo") {
            command.remove(0);
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// The commands of a transcript, each with the lines below it. A command may be continued with `\`.
pub(crate) fn transcript(block: &Block) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    let mut continued = false;
    for line in block.text.lines() {
        match (line.strip_prefix("$ "), all.last_mut()) {
            (None, Some((command, _))) if continued => {
                command.push('\n');
                command.push_str(line);
                continued = line.ends_with('\\');
            }
            (Some(command), _) => {
                continued = command.ends_with('\\');
                all.push((command.to_owned(), Vec::new()));
            }
            (None, Some((_, output))) => output.push(line.to_owned()),
            (None, None) => panic!("{}: begins without a command", block.place),
        }
    }
    all
}
