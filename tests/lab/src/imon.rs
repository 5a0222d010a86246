//! Running the program under test.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use crate::lab::Lab;
use crate::process::{Finished, Proc};

/// imon's command line, environment and configuration, until it is started.
#[derive(Debug)]
pub struct ImonBuilder<'a> {
    lab: &'a Lab,
    ns: String,
    program: PathBuf,
    name: String,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    incapable: bool,
}

impl<'a> ImonBuilder<'a> {
    pub(crate) fn new(lab: &'a Lab, ns: &str, program: PathBuf) -> Self {
        let name = format!("imon@{ns}");
        Self {
            lab,
            ns: ns.to_owned(),
            program,
            name,
            args: Vec::new(),
            env: Vec::new(),
            incapable: false,
        }
    }

    /// `--instance NAME`, with this text as /etc/default/imon-NAME.
    #[must_use]
    pub fn instance(self, name: &str, config: &str) -> Self {
        self.lab.write(&format!("/etc/default/imon-{name}"), config);
        self.arg("--instance").arg(name).called(&format!("imon-{name}"))
    }

    /// `--nosyslog`: log lines go to standard output.
    #[must_use]
    pub fn nosyslog(self) -> Self {
        self.arg("--nosyslog")
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, |b, a| b.arg(a))
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes an environment variable that the test itself has.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), None));
        self
    }

    /// Runs it without any capability, root or not: what it may do is what the group it runs as
    /// may.
    #[must_use]
    pub fn without_capabilities(mut self) -> Self {
        self.incapable = true;
        self
    }

    /// What the timeline calls it.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// With the timeline, when it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn spawn(self) -> Proc {
        let mut command = if self.incapable {
            let drop = ["--inh-caps=-all", "--bounding-set=-all"].map(OsStr::new);
            let words = drop
                .into_iter()
                .chain([self.program.as_os_str()])
                .chain(self.args.iter().map(OsString::as_os_str));
            self.lab.command(&self.ns, "setpriv", words)
        } else {
            self.lab.command(&self.ns, &self.program, &self.args)
        };
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.lab.start(&self.name, &mut command)
    }

    /// Starts it and waits until it ends.
    ///
    /// # Panics
    /// With the timeline, when it cannot be started or still runs after `limit`.
    #[track_caller]
    #[must_use]
    pub fn run(self, limit: Duration) -> Finished {
        self.spawn().finish(limit)
    }
}
