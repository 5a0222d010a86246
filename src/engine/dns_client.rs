//! Questions to name servers that are under way: a socket each, an unpredictable id and port each.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::host_table::Hosts;
use super::world::{WaitSource, Waited, World};
use crate::base::time::Instant;
use crate::dns::plausible;
use crate::dns::resolver::{AskError, NameQuery};
use crate::probe::{AskId, OpinionQuestion, Owner};
use crate::wire::dns::{
    self, Class, DnsAnswer, DnsQuestion, MAX_MESSAGE, Name, RecordType, Reject,
};

const PORT: u16 = 53;
/// A second opinion's socket is closed this long after its question; the monitor has mostly given
/// up before. The resolver says itself how long it waits.
const KEEP: Duration = Duration::from_secs(15);
/// Questions of the second opinion under way at a time; one of the oldest gives way.
const MOST_OPINIONS: usize = 64;

/// An answer for a monitor.
pub(super) type OpinionAnswer = (AskId, Result<DnsAnswer, Rc<str>>);

/// All questions under way.
pub(super) struct Questions<W: World> {
    asked: Vec<PendingQuery<W>>,
    answered: Vec<OpinionAnswer>,
    /// Could not even be sent.
    failed: Vec<OpinionAnswer>,
    counter: u64,
    packet: Vec<u8>,
}

struct PendingQuery<W: World> {
    socket: W::Question,
    id: u16,
    question: DnsQuestion,
    purpose: QueryPurpose,
    until: Instant,
    /// Tells its socket from the others.
    number: u64,
}

#[derive(Clone, Copy)]
enum QueryPurpose {
    /// The resolver's, with its token.
    Lookup(u32),
    /// A second opinion.
    Opinion(AskId),
}

impl<W: World> Questions<W> {
    pub(super) fn new() -> Self {
        Self {
            asked: Vec::new(),
            answered: Vec::new(),
            failed: Vec::new(),
            counter: 0,
            packet: Vec::new(),
        }
    }

    /// Asks for the resolver.
    pub(super) fn lookup(&mut self, ask: NameQuery, world: &mut W) -> Result<(), AskError> {
        let unreachable = |e: io::Error| AskError::Unreachable(W::in_words(&e));
        let purpose = QueryPurpose::Lookup(ask.token);
        let to = world.server_address(ask.server.address, ask.server.zone.as_deref(), PORT);
        self.send(ask.until, to, ask.question, purpose, world).map_err(unreachable)
    }

    /// Asks for a second opinion. What cannot be sent comes back by [`Questions::failed`].
    pub(super) fn opinion(
        &mut self,
        now: Instant,
        id: AskId,
        name: &str,
        hosts: &Hosts,
        world: &mut W,
    ) {
        let name = match id.about {
            OpinionQuestion::Name => name.to_owned(),
            OpinionQuestion::Invalid => plausible::invalid_label(world.random()),
        };
        let result = hosts.address(id.server).and_then(|server| {
            let name = Name::parse(&name).map_err(|_| Rc::from("the name cannot be asked for"))?;
            let question = DnsQuestion { name, kind: RecordType::A, class: Class::In };
            let opinions = |a: &PendingQuery<W>| matches!(a.purpose, QueryPurpose::Opinion(_));
            if self.asked.iter().filter(|a| opinions(a)).count() >= MOST_OPINIONS {
                let oldest = self.asked.iter().position(opinions);
                oldest.map(|at| self.asked.remove(at));
            }
            self.send(
                now + KEEP,
                SocketAddr::new(server, PORT),
                question,
                QueryPurpose::Opinion(id),
                world,
            )
            .map_err(|e| W::in_words(&e).into())
        });
        if let Err(why) = result {
            self.failed.push((id, Err(why)));
        }
    }

    /// A second opinion's question that could not be sent, with the reason.
    pub(super) fn failed(&mut self) -> Option<OpinionAnswer> {
        self.failed.pop()
    }

    /// A second opinion's answer.
    pub(super) fn answered(&mut self) -> Option<OpinionAnswer> {
        self.answered.pop()
    }

    /// Forgets second opinions of servers that nobody asks any more.
    pub(super) fn keep_opinions(&mut self, is_known: impl Fn(Owner) -> bool) {
        self.asked.retain(|a| match a.purpose {
            QueryPurpose::Lookup(_) => true,
            QueryPurpose::Opinion(id) => is_known(id.server),
        });
        self.answered.retain(|(id, _)| is_known(id.server));
        self.failed.retain(|(id, _)| is_known(id.server));
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.asked.iter().map(|a| a.until).min()
    }

    /// Closes what nobody waits for any more.
    pub(super) fn tick(&mut self, now: Instant, hosts: &mut Hosts, world: &mut W) {
        self.asked.retain(|a| a.until > now);
        hosts.send(now, self, world);
    }

    pub(super) fn add_to(&self, world: &mut W) {
        for asked in &self.asked {
            world.watch(Waited::Question(asked.number), WaitSource::Question(&asked.socket));
        }
    }

    /// Takes the answers that have arrived.
    pub(super) fn after(&mut self, world: &mut W, now: Instant, hosts: &mut Hosts) {
        // Mostly nothing is asked, and this is called at every turn of the loop.
        if self.asked.is_empty() {
            return;
        }
        let mut buffer = [0; MAX_MESSAGE];
        let mut at = 0;
        while let Some(asked) = self.asked.get_mut(at) {
            if !world.is_ready(Waited::Question(asked.number)) {
                at += 1;
                continue;
            }
            let answer = match world.receive(&mut asked.socket, &mut buffer) {
                Ok(None) => None,
                Ok(Some(bytes)) => match dns::response(bytes, asked.id, &asked.question) {
                    Ok(answer) => Some(Ok(answer)),
                    Err(Reject::Malformed(why)) => Some(Err(AskError::Malformed(why))),
                    // Not an answer to this question: a forger's try, or an echo of an earlier one.
                    // The true one may still come.
                    Err(Reject::Mismatch(_)) => None,
                },
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                    Some(Err(AskError::PortClosed))
                }
                Err(e) => Some(Err(AskError::Unreachable(W::in_words(&e)))),
            };
            let Some(answer) = answer else {
                at += 1;
                continue;
            };
            match self.asked.swap_remove(at).purpose {
                QueryPurpose::Lookup(token) => hosts.answer(now, token, answer),
                QueryPurpose::Opinion(id) => {
                    self.answered.push((id, answer.map_err(|e| told(e).into())))
                }
            }
        }
        hosts.send(now, self, world);
    }

    fn send(
        &mut self,
        until: Instant,
        to: SocketAddr,
        question: DnsQuestion,
        purpose: QueryPurpose,
        world: &mut W,
    ) -> io::Result<()> {
        self.counter += 1;
        let id = (world.random() & 0xffff) as u16;
        dns::query(id, &question, &mut self.packet);
        let socket = world.ask(None, to, &self.packet)?;
        self.asked.push(PendingQuery {
            socket,
            id,
            question,
            purpose,
            until,
            number: self.counter,
        });
        Ok(())
    }
}

fn told(e: AskError) -> String {
    match e {
        AskError::PortClosed => "its DNS port is closed".to_owned(),
        AskError::Unreachable(why) => why,
        AskError::Malformed(why) => format!("broken answer: {why}"),
    }
}
