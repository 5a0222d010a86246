//! Which configuration is meant, and what became of reading it. `sys::configuration` does that.

use crate::config::{Config, Section};

/// Which configuration is meant.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// The file.
    pub file: String,
    /// The instance's name, when it was given. With `--config` the file names it, or its own name
    /// does.
    pub instance: Option<String>,
    /// `--addping`.
    pub addping: Option<String>,
}

/// What became of it.
pub struct Loaded {
    /// The settings, if nothing is wrong.
    pub config: Option<Config>,
    /// What is wrong, each in one line.
    pub errors: Vec<String>,
    /// What is odd, each in one line.
    pub warnings: Vec<String>,
    /// The contents, for the log.
    pub echo: Vec<Section>,
    /// Whether there is such a file at all.
    pub found: bool,
    /// It is not its fault that it could not be read: the system was short of something.
    pub short: bool,
    /// Another number when the file, or one that it names, is another. Of this process only.
    pub print: u64,
}

impl ConfigSource {
    /// `/etc/default/imon-NAME`.
    #[must_use]
    pub fn instance(name: &str, addping: Option<String>) -> Self {
        Self { file: format!("/etc/default/imon-{name}"), instance: Some(name.to_owned()), addping }
    }

    /// A file of any name.
    #[must_use]
    pub fn file(file: &str, addping: Option<String>) -> Self {
        Self { file: file.to_owned(), instance: None, addping }
    }

    /// `$1` of action scripts, and the name in logs.
    #[must_use]
    pub fn name(&self, config: Option<&Config>) -> String {
        let named =
            self.instance.clone().or_else(|| config.and_then(|c| c.global.instance.clone()));
        named.filter(|name| super::instance::check(name).is_ok()).unwrap_or_else(|| self.stem())
    }

    /// The file's name without directory and ending; without V2.99's `imon-` as well.
    fn stem(&self) -> String {
        let stem =
            std::path::Path::new(&self.file).file_stem().and_then(|s| s.to_str()).unwrap_or("main");
        let stem = stem.strip_prefix("imon-").unwrap_or(stem);
        if super::instance::check(stem).is_ok() { stem.to_owned() } else { "main".to_owned() }
    }
}
