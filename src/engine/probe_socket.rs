//! Probes of a WAN that are no pings: DNS queries and TCP connections, each with a socket of its
//! own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::world::{WaitSource, Waited, World};
use crate::base::time::Instant;
use crate::kernel::path::Via;
use crate::monitor::failover::ProbeKind;
use crate::probe::{Owner, ProbeId, Reason};
use crate::wire::dns::{self, Class, DnsQuestion, MAX_MESSAGE, Name, Rcode, RecordType, Reject};

const DNS_PORT: u16 = 53;
/// What is asked for: a name that exists, and that a forwarder asks others for now and then (RFC
/// 2606).
const NAME: &str = "example.com";
/// A socket is closed after this long; its check is long over.
const KEEP: Duration = Duration::from_secs(60);
/// Open at a time; the oldest gives way.
const MOST: usize = 128;

/// All that are under way.
pub(super) struct Contacts<W: World> {
    open: Vec<Contact<W>>,
    counter: u64,
    packet: Vec<u8>,
}

struct Contact<W: World> {
    id: ProbeId,
    /// Tells its socket from the others.
    number: u64,
    sent: Instant,
    socket: Contacted<W>,
}

enum Contacted<W: World> {
    Dns(W::Question, u16, Box<DnsQuestion>),
    Tcp(W::Opening),
}

/// What became of a probe: its round-trip time, or why there is none.
pub(super) type Result = (ProbeId, std::result::Result<Duration, Reason>);

impl<W: World> Contacts<W> {
    pub(super) fn new() -> Self {
        Self { open: Vec::new(), counter: 0, packet: Vec::new() }
    }

    /// Sends a probe; for an echo request nothing is done.
    pub(super) fn send(
        &mut self,
        id: ProbeId,
        probe: ProbeKind,
        via: &Via,
        to: IpAddr,
        now: Instant,
        world: &mut W,
    ) -> io::Result<()> {
        self.counter += 1;
        let socket = match probe {
            ProbeKind::Echo => return Ok(()),
            ProbeKind::Dns => {
                let name = Name::parse(NAME).map_err(|_| io::ErrorKind::InvalidInput)?;
                let question = DnsQuestion { name, kind: RecordType::A, class: Class::In };
                let number = (world.random() & 0xffff) as u16;
                dns::query(number, &question, &mut self.packet);
                let socket = world.ask(Some(via), SocketAddr::new(to, DNS_PORT), &self.packet)?;
                Contacted::Dns(socket, number, Box::new(question))
            }
            ProbeKind::Tcp(port) => {
                Contacted::Tcp(world.connect(Some(via), SocketAddr::new(to, port))?)
            }
        };
        if self.open.len() >= MOST {
            self.open.remove(0);
        }
        self.open.push(Contact { id, number: self.counter, sent: now, socket });
        Ok(())
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.open.first().map(|contact| contact.sent + KEEP)
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.open.retain(|contact| contact.sent + KEEP > now);
    }

    /// Forgets those of hosts that nobody probes any more.
    pub(super) fn keep(&mut self, is_known: impl Fn(Owner) -> bool) {
        self.open.retain(|contact| is_known(contact.id.owner));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn add_to(&self, world: &mut W) {
        for contact in &self.open {
            let name = Waited::Contact(contact.number);
            let source = match &contact.socket {
                Contacted::Dns(socket, ..) => WaitSource::Question(socket),
                Contacted::Tcp(socket) => WaitSource::Opening(socket),
            };
            world.watch(name, source);
        }
    }

    /// Takes what has arrived; one result each time, until there is none.
    pub(super) fn after(&mut self, world: &mut W, now: Instant) -> Option<Result> {
        let mut at = 0;
        while let Some(contact) = self.open.get_mut(at) {
            if !world.is_ready(Waited::Contact(contact.number)) {
                at += 1;
                continue;
            }
            let answer = match &mut contact.socket {
                Contacted::Dns(socket, number, question) => heard(socket, *number, question, world),
                Contacted::Tcp(socket) => Some(world.opened(socket).map_err(|e| unsent::<W>(&e))),
            };
            match answer {
                Some(answer) => {
                    let Contact { id, sent, .. } = self.open.remove(at);
                    return Some((id, answer.map(|()| now.since(sent))));
                }
                None => at += 1,
            }
        }
        None
    }
}

/// Whether the query was answered; `None`: not yet.
fn heard<W: World>(
    socket: &mut W::Question,
    number: u16,
    question: &DnsQuestion,
    world: &mut W,
) -> Option<std::result::Result<(), Reason>> {
    let mut buffer = [0; MAX_MESSAGE];
    let bytes = match world.receive(socket, &mut buffer) {
        Ok(bytes) => bytes?,
        Err(e) => return Some(Err(unsent::<W>(&e))),
    };
    match dns::response(bytes, number, question) {
        Ok(answer) => match answer.rcode {
            Rcode::NOERROR | Rcode::NXDOMAIN => Some(Ok(())),
            rcode => Some(Err(Reason::Answered(format!("the name server says: {rcode}").into()))),
        },
        Err(Reject::Malformed(why)) => {
            Some(Err(Reason::Answered(format!("broken answer: {why}").into())))
        }
        Err(Reject::Mismatch(_)) => None,
    }
}

/// What the kernel heard instead of an answer.
fn unsent<W: World>(e: &io::Error) -> Reason {
    Reason::Answered(W::in_words(e).into())
}
