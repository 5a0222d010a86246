//! The lab itself: one keeper process whose namespaces hold everything, and the way in.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, signal};

use crate::fault::Wan;
use crate::imon::ImonBuilder;
use crate::process::Proc;
use crate::timeline::Timeline;
use crate::topology::{self, Nat, Plan};

/// How long building may take on a loaded machine.
const UP: Duration = Duration::from_secs(30);
/// How long the kernel may take to end all processes inside.
const DOWN: Duration = Duration::from_secs(30);
/// How often [`Lab::wait_until`] looks.
const POLL: Duration = Duration::from_millis(2);

/// How the error begins when this user may not build a lab, but root may.
pub const NEEDS_ROOT: &str = "the lab needs root or an unprivileged user namespace";

/// A network of its own. Dropping it ends every process inside and removes all of it.
pub struct Lab {
    keeper: Child,
    /// pid 1 of the lab's pid namespace, as this process sees it.
    pid: i32,
    user_namespace: bool,
    nsenter: PathBuf,
    ip: PathBuf,
    plan: Plan,
    imon: Option<PathBuf>,
    timeline: Arc<Timeline>,
}

/// Variants of a [`Lab`].
#[derive(Clone, Debug)]
pub struct Builder {
    plan: Plan,
    imon: Option<PathBuf>,
}

impl Builder {
    /// Puts a userspace cable between the router's link and the provider, whose delay, loss and so
    /// on [`Lab::wire`] sets. Nothing passes until that runs.
    #[must_use]
    pub fn wire(mut self, wan: Wan) -> Self {
        self.plan.wires.push(wan);
        self
    }

    /// Reverse path filter of every interface: 0 off (the default), 1 strict, 2 loose.
    #[must_use]
    pub fn rp_filter(mut self, mode: u8) -> Self {
        self.plan.rp_filter = mode;
        self
    }

    /// The kernel tells of a change of this link's carrier up to a second late if there was another
    /// shortly before. So it does for real interfaces, while it is quick about veth.
    #[must_use]
    pub fn late_news(mut self, wan: Wan) -> Self {
        self.plan.late.push(wan);
        self
    }

    /// How the router translates addresses (the default is not at all). Needs nft.
    #[must_use]
    pub fn nat(mut self, nat: Nat) -> Self {
        self.plan.nat = nat;
        self
    }

    /// The providers translate what the router sends to a public address each, 203.0.113.1 and
    /// 198.51.100.1, as which the internet then sees it. IPv6 is not translated. Needs nft.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.plan.public = true;
        self
    }

    /// The providers drop what comes with an address of the other one.
    #[must_use]
    pub fn bcp38(mut self) -> Self {
        self.plan.bcp38 = true;
        self
    }

    /// The router's default route goes through this link (the default is the first), or there is
    /// none.
    #[must_use]
    pub fn default_route(mut self, wan: Option<Wan>) -> Self {
        self.plan.default_route = wan;
        self
    }

    /// The imon program that [`Lab::imon`] runs; tests pass `env!("CARGO_BIN_EXE_imon")`. Without
    /// it the environment variable `IMON_BIN` counts.
    #[must_use]
    pub fn imon(mut self, program: impl Into<PathBuf>) -> Self {
        self.imon = Some(program.into());
        self
    }

    /// Builds it.
    ///
    /// # Panics
    /// Where it cannot be built, with one sentence that says what to do.
    #[track_caller]
    #[must_use]
    pub fn up(self) -> Lab {
        self.try_up().unwrap_or_else(|e| panic!("{e}"))
    }

    /// Builds it.
    ///
    /// # Errors
    /// One sentence that says what is missing and what to do.
    pub fn try_up(self) -> Result<Lab, String> {
        let (nsenter, ip) = (tool("nsenter")?, tool("ip")?);
        if self.plan.nat != Nat::None || self.plan.public {
            tool("nft")?;
        }
        let timeline = Arc::new(Timeline::new());
        // Root without CAP_SYS_ADMIN, as in a container, may still be allowed a user namespace.
        let ways: &[bool] = if nix::unistd::geteuid().is_root() { &[false, true] } else { &[true] };
        let mut last = String::new();
        for user_namespace in ways.iter().copied() {
            match keeper(user_namespace, &topology::script(&self.plan)) {
                Ok((keeper, pid)) => {
                    let Self { plan, imon } = self;
                    let lab =
                        Lab { keeper, pid, user_namespace, nsenter, ip, plan, imon, timeline };
                    lab.note(&format!("the lab is up (keeper {pid})"));
                    return Ok(lab);
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}

impl Lab {
    /// The network as it is usually wanted: default route through the first link, reverse path
    /// filters off, no wires.
    ///
    /// # Panics
    /// Where it cannot be built, with one sentence that says what to do.
    #[track_caller]
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a network is not a default value")]
    pub fn new() -> Self {
        Self::builder().up()
    }

    /// For variants.
    #[must_use]
    pub const fn builder() -> Builder {
        Builder {
            plan: Plan {
                rp_filter: 0,
                nat: Nat::None,
                bcp38: false,
                default_route: Some(Wan::One),
                wires: Vec::new(),
                late: Vec::new(),
                public: false,
            },
            imon: None,
        }
    }

    /// A command that runs a program inside a namespace. Arguments, environment and standard input
    /// can still be set; [`Self::start`] starts it.
    pub fn command<A: AsRef<OsStr>>(
        &self,
        ns: &str,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = Command::new(&self.nsenter);
        command.arg("--target").arg(self.pid.to_string());
        if self.user_namespace {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--mount", "--pid", "--"]);
        command
            .arg(&self.ip)
            .args(["netns", "exec", ns])
            .arg(program)
            .args(args)
            .stdin(Stdio::null());
        default_signals(&mut command);
        command
    }

    /// Starts a program inside a namespace.
    ///
    /// # Panics
    /// With the timeline, when it cannot be started.
    #[track_caller]
    pub fn spawn<A: AsRef<OsStr>>(
        &self,
        ns: &str,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Proc {
        let program = program.as_ref();
        let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
        let mut command = self.command(ns, program, args);
        self.start(&format!("{name}@{ns}"), &mut command)
    }

    /// Starts a command made by [`Self::command`] under the name that the timeline shows.
    ///
    /// # Panics
    /// With the timeline, when it cannot be started.
    #[track_caller]
    pub fn start(&self, name: &str, command: &mut Command) -> Proc {
        self.start_showing(name, command, |_| true)
    }

    #[track_caller]
    pub(crate) fn start_showing(
        &self,
        name: &str,
        command: &mut Command,
        shown: fn(&str) -> bool,
    ) -> Proc {
        Proc::start(name, command, &self.timeline, shown).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Runs a shell command inside a namespace and returns its standard output.
    ///
    /// # Panics
    /// With the timeline, when it fails or takes more than 30 s.
    #[track_caller]
    pub fn sh(&self, ns: &str, command: &str) -> String {
        self.note(&format!("{ns}# {command}"));
        let proc = self.spawn(ns, "sh", ["-c", command]);
        let status = proc.wait(Duration::from_secs(30));
        let output = proc.texts().join("\n");
        assert!(status.success(), "{ns}# {command}\n{output}\n{status}\n{}", self.timeline);
        output
    }

    /// imon in a namespace, to be given its configuration and arguments.
    ///
    /// # Panics
    /// When neither [`Builder::imon`] nor the environment variable `IMON_BIN` says where the
    /// program is.
    #[track_caller]
    pub fn imon(&self, ns: &str) -> ImonBuilder<'_> {
        ImonBuilder::new(self, ns, self.imon_program())
    }

    /// The program that [`Self::imon`] runs, to be run in another way.
    ///
    /// # Panics
    /// As [`Self::imon`].
    #[track_caller]
    #[must_use]
    pub fn imon_program(&self) -> PathBuf {
        let program = self.imon.clone().or_else(|| std::env::var_os("IMON_BIN").map(PathBuf::from));
        program.expect("no imon to run: give Lab::builder().imon(PATH) or set IMON_BIN")
    }

    /// Where this process finds a file of the lab: `/etc/default/imon-x` inside is a long path
    /// under /proc outside. Tests may keep files of their own in /run/lab.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/{}", self.pid, inside.trim_start_matches('/')))
    }

    /// Writes a file of the lab, and the folders above it.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).unwrap_or_else(|e| panic!("{inside}: {e}"));
        }
        fs::write(&path, text).unwrap_or_else(|e| panic!("{inside}: {e}"));
    }

    /// Writes an executable file of the lab.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn script(&self, inside: &str, text: &str) {
        self.write(inside, text);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(inside), mode).unwrap_or_else(|e| panic!("{inside}: {e}"));
    }

    /// Reads a file of the lab; empty when it is not there.
    #[must_use]
    pub fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).unwrap_or_default()
    }

    /// Waits until something is so, looking every 2 ms.
    ///
    /// # Panics
    /// With the timeline, when it is not so after `limit`.
    #[track_caller]
    pub fn wait_until(&self, what: &str, limit: Duration, mut so: impl FnMut() -> bool) {
        let deadline = Instant::now() + limit;
        while !so() {
            assert!(Instant::now() < deadline, "not within {limit:?}: {what}\n{}", self.timeline);
            thread::sleep(POLL);
        }
    }

    /// Adds a line to the timeline.
    pub fn note(&self, text: &str) {
        self.timeline.add(Instant::now(), "lab", text);
    }

    /// Everything that was said and done so far, for a test's own failures.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// pid 1 of the lab's pid namespace, as this process sees it.
    #[must_use]
    pub const fn keeper_pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn wired(&self, wan: Wan) -> bool {
        self.plan.wires.contains(&wan)
    }
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab")
            .field("pid", &self.pid)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A failed assertion of the test itself has not printed it.
        if thread::panicking() && !self.timeline.was_shown() {
            eprintln!("{}", self.timeline);
        }
        end(&mut self.keeper);
    }
}

/// Starts the keeper. Its namespaces are the lab; it lives until its standard input, a pipe of
/// ours, ends. So the lab ends with this process however that ends: pid 1 of a pid namespace takes
/// all other processes in it along, and without processes the namespaces and what is mounted in
/// them are gone.
fn keeper(user_namespace: bool, network: &str) -> Result<(Child, i32), String> {
    let mut command = Command::new(tool("unshare")?);
    if user_namespace {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child=KILL", "sh", "-c"]);
    command.arg(format!(
        "{}\n{network}\necho ready $pid\nexec >&- 2>&-\ncat >/dev/null\n",
        include_str!("setup.sh")
    ));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cannot start unshare: {e}"))?;
    let (send, receive) = mpsc::channel();
    let out = child.stdout.take();
    thread::spawn(move || {
        let ready = out.map(|o| {
            BufReader::new(o).lines().map_while(Result::ok).find(|l| l.starts_with("ready "))
        });
        send.send(ready.flatten())
    });
    let ready = receive.recv_timeout(UP).ok().flatten();
    if let Some(pid) = ready.and_then(|line| line.strip_prefix("ready ")?.parse().ok()) {
        return Ok((child, pid));
    }
    end(&mut child);
    let mut said = String::new();
    if let Some(err) = child.stderr.take() {
        let _ = err.take(4096).read_to_string(&mut said);
    }
    Err(explain(said.trim()))
}

/// Ends a keeper: by the end of its standard input, or the hard way.
fn end(keeper: &mut Child) {
    drop(keeper.stdin.take());
    let deadline = Instant::now() + DOWN;
    while keeper.try_wait().is_ok_and(|s| s.is_none()) {
        if Instant::now() >= deadline {
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Gives the program the signals as a service manager would. Tests that run in the background of a
/// shell, or under nohup, have some of them ignored, and programs inherit that.
#[allow(unsafe_code, reason = "between fork and exec there is no safe way to do anything")]
fn default_signals(command: &mut Command) {
    // SAFETY: the closure only calls signal(2), which is async-signal-safe, and SIG_DFL runs no
    // code of ours.
    unsafe {
        command.pre_exec(|| {
            for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
                signal(ignored, SigHandler::SigDfl)?;
            }
            Ok(())
        });
    }
}

/// What a person can do about a lab that could not be built.
fn explain(said: &str) -> String {
    let refused = ["unshare:", "mount:"].iter().any(|tool| said.starts_with(tool))
        || said.contains("not permitted");
    if refused {
        format!(
            "{NEEDS_ROOT}: run as root, or allow them with \
             `sysctl kernel.unprivileged_userns_clone=1` (Debian), \
             `sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu) or \
             `sysctl user.max_user_namespaces=15000`; in a container, allow it CAP_SYS_ADMIN ({said})"
        )
    } else {
        format!(
            "the lab's network could not be made: {}",
            if said.is_empty() { "no answer in time" } else { said }
        )
    }
}

/// Finds a program of the system, also where an unprivileged user's PATH does not look.
fn tool(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let found =
        std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|p| p.is_file());
    let package = match name {
        "ip" => "iproute2",
        "nft" => "nftables",
        _ => "util-linux",
    };
    found
        .ok_or_else(|| format!("the lab needs the program `{name}`: install the package {package}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        assert!(tool("ip").is_ok());
        assert!(tool("no-such-program").unwrap_err().contains("install the package util-linux"));
    }

    #[test]
    fn a_refusal_says_what_to_do_and_another_failure_what_happened() {
        let refused = explain("unshare: unshare failed: Operation not permitted");
        assert!(refused.starts_with(NEEDS_ROOT) && !refused.contains('\n'));
        assert!(explain("Command failed -:3").contains("could not be made: Command failed -:3"));
    }
}
