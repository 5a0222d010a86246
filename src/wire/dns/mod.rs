//! DNS messages: one question out, the answer to it in (RFC 1035, 2181, 6895).
//!
//! Only what a monitor needs: A, AAAA and TXT questions, over UDP and without EDNS, so an honest
//! answer has at most 512 bytes. A longer one arrives truncated; the addresses that did fit are
//! used, there is no second try over TCP.
//! ```
//! use imon::wire::dns::{self, Class, DnsQuestion, Name, Rcode, RecordType, Reject};
//!
//! let name = Name::parse("host.example").unwrap();
//! let question = DnsQuestion { name, kind: RecordType::A, class: Class::In };
//! let mut message = Vec::new();
//! dns::query(0x1234, &question, &mut message);
//!
//! // The answer repeats the question and adds a record: a pointer to the name, A, IN, 60 s, four bytes.
//! (message[2], message[7]) = (0x80, 1);
//! message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
//! let answer = dns::response(&message, 0x1234, &question).unwrap();
//! assert_eq!((answer.rcode, answer.ttl), (Rcode::NOERROR, 60));
//! assert_eq!(answer.addresses, [std::net::IpAddr::from([192, 0, 2, 1])]);
//!
//! // Whoever does not know the identifier cannot answer in the server's place.
//! assert_eq!(dns::response(&message, 0x4321, &question), Err(Reject::Mismatch("another id")));
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest message [`response`] reads, in bytes: a generous buffer, as no honest answer exceeds
/// 512. It also bounds the work a hostile one can cause.
pub const MAX_MESSAGE: usize = 4096;
/// Most addresses, or texts, taken from one answer.
pub const MAX_RECORDS: usize = 16;
/// Most aliases (CNAME) followed within one answer.
const MAX_LINKS: usize = 16;
/// Longest name in wire form, the root's empty label included (RFC 1035, 2.3.4).
const MAX_NAME: usize = 255;
/// Most pointers followed in one name: one for each label of the longest name.
const MAX_POINTERS: usize = 127;
/// Longest label (RFC 1035, 2.3.4). Its two upper bits are free, which is how a pointer is told
/// from a label.
const MAX_LABEL: usize = 63;
const CNAME: u16 = 5;

/// What a question asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Texts.
    Txt,
}

impl RecordType {
    const fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Txt => 16,
        }
    }
}

/// The name space a question belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// The internet.
    In,
    /// Chaos, in which some servers tell things about themselves and about who asks
    /// (`whoami.cloudflare`).
    Ch,
}

impl Class {
    const fn code(self) -> u16 {
        match self {
            Self::In => 1,
            Self::Ch => 3,
        }
    }
}

/// A name in wire form, in lower case: names that differ in case only are equal, as RFC 4343 wants.
#[derive(Clone, Copy)]
pub struct Name {
    /// Labels, each after its length, then the root's length 0.
    bytes: [u8; MAX_NAME],
    /// At most `MAX_NAME`.
    used: usize,
}

/// Why a text cannot be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// Nothing, or the root alone.
    Empty,
    /// Two dots in a row, or one at the start.
    EmptyLabel,
    /// More than 63 bytes between two dots.
    LongLabel,
    /// More than 253 bytes.
    LongName,
    /// A blank, a control character, or something beyond ASCII.
    Character,
}

impl Name {
    const ROOT: Self = Self { bytes: [0; MAX_NAME], used: 1 };

    /// Reads `host.example` or `host.example.`. Any printable ASCII is taken as it stands (no
    /// backslash escapes).
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let mut name = Self::ROOT;
        for label in text.split('.') {
            if label.is_empty() {
                return Err(NameError::EmptyLabel);
            }
            if label.len() > MAX_LABEL {
                return Err(NameError::LongLabel);
            }
            if !label.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(NameError::Character);
            }
            name.push(label.as_bytes()).ok_or(NameError::LongName)?;
        }
        Ok(name)
    }

    /// The name in wire form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// Appends a label of 1 to 63 bytes. `None`, with the name unchanged, when the name would get
    /// too long.
    fn push(&mut self, label: &[u8]) -> Option<()> {
        let length = u8::try_from(label.len()).ok()?;
        // The new label's length takes the place of the root's, and the array is zero beyond: a new
        // root is there.
        let from = self.used - 1;
        let place = self.bytes.get_mut(from..=self.used + label.len())?;
        let (first, rest) = place.split_first_mut()?;
        *first = length;
        for (to, byte) in rest.iter_mut().zip(label) {
            *to = byte.to_ascii_lowercase();
        }
        self.used += 1 + label.len();
        Some(())
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

/// As text, without the last dot; bytes that are not printable as RFC 1035 (5.1) writes them,
/// `\007`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.as_bytes();
        let mut first = true;
        while let Some((label, after)) =
            rest.split_first().and_then(|(n, r)| r.split_at_checked(usize::from(*n)))
        {
            if label.is_empty() {
                break;
            }
            if !std::mem::take(&mut first) {
                f.write_str(".")?;
            }
            for byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    _ if byte.is_ascii_graphic() => write!(f, "{}", char::from(*byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            rest = after;
        }
        if first { f.write_str(".") } else { Ok(()) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::EmptyLabel => "has an empty label (two dots in a row, or one at the start)",
            Self::LongLabel => "has a label of more than 63 characters",
            Self::LongName => "is longer than the 253 characters of a DNS name",
            Self::Character => "has a character that is not printable ASCII",
        })
    }
}

/// One question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DnsQuestion {
    /// Whose records.
    pub name: Name,
    /// Which records.
    pub kind: RecordType,
    /// In which name space.
    pub class: Class,
}

/// A server's verdict on a question, 0 to 15.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rcode(pub u8);

impl Rcode {
    /// The question was answered, though perhaps with nothing.
    pub const NOERROR: Self = Self(0);
    /// The server could not get an answer.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// The server does not answer us, or not about this name.
    pub const REFUSED: Self = Self(5);
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no error (NOERROR)"),
            1 => f.write_str("question not understood (FORMERR)"),
            2 => f.write_str("server failure (SERVFAIL)"),
            3 => f.write_str("no such name (NXDOMAIN)"),
            4 => f.write_str("not implemented (NOTIMP)"),
            5 => f.write_str("refused (REFUSED)"),
            code => write!(f, "error code {code}"),
        }
    }
}

/// What a server said to our question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsAnswer {
    /// The verdict. Anything but [`Rcode::NOERROR`] comes without addresses and texts.
    pub rcode: Rcode,
    /// Not everything fitted into the message (TC).
    pub truncated: bool,
    /// Nothing was answered, by a server that neither owns the name (AA) nor asks others for us
    /// (RA): it only points to servers that would know.
    pub referral: bool,
    /// Answer to an A or AAAA question, in the server's order, without repetitions, at most
    /// [`MAX_RECORDS`].
    pub addresses: Vec<IpAddr>,
    /// Answer to a TXT question: the strings of each record joined, at most [`MAX_RECORDS`]
    /// records.
    pub texts: Vec<Vec<u8>>,
    /// How long the answer may be kept, in seconds: the least of the records used, aliases
    /// included. 0 when none was.
    pub ttl: u32,
}

/// Why a message is not the answer to our question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reject {
    /// It answers something else, or comes from somebody who guesses: keep waiting for the real
    /// one.
    Mismatch(&'static str),
    /// It answers our question, but is broken: this server will say nothing better.
    Malformed(&'static str),
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch(why) => write!(f, "not an answer to this question: {why}"),
            Self::Malformed(why) => write!(f, "broken answer: {why}"),
        }
    }
}

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const RCODE: u16 = 0x000f;

/// Writes the message that asks `question` of a recursive server into `out` (at most 271 bytes),
/// replacing what is there. `id` must be unpredictable, and so must the source port: nothing else
/// keeps a stranger from answering.
pub fn query(id: u16, question: &DnsQuestion, out: &mut Vec<u8>) {
    write(id, RECURSION_DESIRED, question, out);
}

/// The same, but the server is to answer from what it knows by itself, and to ask no other (RFC
/// 1035, section 4.1.1: recursion is not desired).
pub fn query_of_its_own(id: u16, question: &DnsQuestion, out: &mut Vec<u8>) {
    write(id, 0, question, out);
}

fn write(id: u16, flags: u16, question: &DnsQuestion, out: &mut Vec<u8>) {
    out.clear();
    for word in [id, flags, 1, 0, 0, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(question.name.as_bytes());
    out.extend_from_slice(&question.kind.code().to_be_bytes());
    out.extend_from_slice(&question.class.code().to_be_bytes());
}

/// Reads the answer to `question` as asked with `id`. That the message came from the address and
/// port that were asked is for the caller to check.
///
/// Aliases are followed within the answer section, in whatever order the records are; a record
/// whose owner is not on the way from our name counts for nothing. The other two sections are not
/// read.
///
/// # Errors
/// [`Reject::Mismatch`] unless it is a response to a standard query with our id and exactly our
/// question; [`Reject::Malformed`] if the answer section is broken (one cut short is fine when the
/// message says it is truncated).
pub fn response(message: &[u8], id: u16, question: &DnsQuestion) -> Result<DnsAnswer, Reject> {
    let mut reader = Reader { message, at: 0 };
    let [their_id, flags, questions, answers, _, _] =
        reader.header().ok_or(Reject::Mismatch("shorter than a DNS header"))?;
    if their_id != id {
        return Err(Reject::Mismatch("another id"));
    }
    if flags & RESPONSE == 0 {
        return Err(Reject::Mismatch("not a response"));
    }
    if flags & OPCODE != 0 {
        return Err(Reject::Mismatch("not a standard query"));
    }
    if questions != 1
        || reader.question() != Some((question.name, question.kind.code(), question.class.code()))
    {
        return Err(Reject::Mismatch("another question"));
    }
    if message.len() > MAX_MESSAGE {
        return Err(Reject::Malformed("longer than any answer to a plain question"));
    }
    // The mask leaves four bits, so nothing is lost.
    #[allow(clippy::cast_possible_truncation)]
    let rcode = Rcode((flags & RCODE) as u8);
    let truncated = flags & TRUNCATED != 0;
    let mut answer = DnsAnswer {
        rcode,
        truncated,
        referral: false,
        addresses: Vec::new(),
        texts: Vec::new(),
        ttl: 0,
    };
    if rcode == Rcode::NOERROR {
        answer.referral = answers == 0 && flags & (AUTHORITATIVE | RECURSION_AVAILABLE) == 0;
        let records = Records::check(reader, answers, truncated, question)?;
        follow(&records, question, &mut answer);
    }
    Ok(answer)
}

/// Fills `answer` from the records at the end of the alias chain that begins at the question's
/// name. A chain that loops, breaks off or is longer than [`MAX_LINKS`] leaves it empty.
fn follow(records: &Records<'_>, question: &DnsQuestion, answer: &mut DnsAnswer) {
    let mut owner = question.name;
    let mut ttl = u32::MAX;
    for _ in 0..=MAX_LINKS {
        let mut alias = None;
        let mut found = false;
        for record in records.clone().filter(|r| r.owner == owner) {
            match record.data {
                Data::Address(address) => {
                    found = true;
                    ttl = ttl.min(record.ttl);
                    if answer.addresses.len() < MAX_RECORDS && !answer.addresses.contains(&address)
                    {
                        answer.addresses.push(address);
                    }
                }
                Data::Text(strings) => {
                    found = true;
                    ttl = ttl.min(record.ttl);
                    if answer.texts.len() < MAX_RECORDS {
                        answer.texts.push(join(strings));
                    }
                }
                Data::Alias(target) => alias = alias.or(Some((target, record.ttl))),
                Data::Other => {}
            }
        }
        if found {
            answer.ttl = ttl;
            return;
        }
        let Some((target, its_ttl)) = alias else { return };
        owner = target;
        ttl = ttl.min(its_ttl);
    }
}

/// The character-strings of a TXT record, one after the other.
fn join(mut strings: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(strings.len());
    while let Some((string, rest)) =
        strings.split_first().and_then(|(n, r)| r.split_at_checked(usize::from(*n)))
    {
        text.extend_from_slice(string);
        strings = rest;
    }
    text
}

/// Whether the lengths of a TXT record's character-strings, at least one, lead exactly to its end.
fn fits(mut strings: &[u8]) -> bool {
    let mut any = false;
    while let Some((length, rest)) = strings.split_first() {
        let Some((_, rest)) = rest.split_at_checked(usize::from(*length)) else { return false };
        (any, strings) = (true, rest);
    }
    any
}

/// The records of an answer section that was found to be sound. Going through them again and again
/// costs less than keeping them: a record is 300 bytes in memory, and almost every answer has one
/// to four.
#[derive(Clone)]
struct Records<'a> {
    reader: Reader<'a>,
    left: u16,
    kind: u16,
    class: u16,
}

struct ResourceRecord<'a> {
    owner: Name,
    ttl: u32,
    data: Data<'a>,
}

// One at a time, on the stack: a box would be an allocation for nothing.
#[allow(clippy::large_enum_variant)]
enum Data<'a> {
    Address(IpAddr),
    /// Character-strings, each after its length.
    Text(&'a [u8]),
    Alias(Name),
    /// Of a type or class that was not asked for.
    Other,
}

impl<'a> Records<'a> {
    /// Looks through `count` records once. In a truncated message the sound ones before the cut are
    /// kept.
    fn check(
        reader: Reader<'a>,
        count: u16,
        truncated: bool,
        question: &DnsQuestion,
    ) -> Result<Self, Reject> {
        let mut records =
            Self { reader, left: count, kind: question.kind.code(), class: question.class.code() };
        let sound = records.clone().count();
        let sound = u16::try_from(sound).unwrap_or(count);
        if sound < count && !truncated {
            return Err(Reject::Malformed(
                "a record that is cut short or breaks the rules of its type",
            ));
        }
        records.left = sound;
        Ok(records)
    }

    fn record(&mut self) -> Option<ResourceRecord<'a>> {
        let owner = self.reader.name()?;
        let (kind, class) = (self.reader.u16()?, self.reader.u16()?);
        let ttl = self.reader.u32()?;
        let length = usize::from(self.reader.u16()?);
        // An alias may point backwards out of its data, so it needs the whole message, up to its
        // end.
        let mut inside = self.reader;
        let data = self.reader.take(length)?;
        inside.message = inside.message.get(..self.reader.at)?;
        let data = match kind {
            _ if class != self.class => Data::Other,
            CNAME => Data::Alias(inside.name().filter(|_| inside.at == self.reader.at)?),
            _ if kind != self.kind => Data::Other,
            1 => Data::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
            28 => Data::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
            _ => Data::Text(Some(data).filter(|d| fits(d))?),
        };
        // A lifetime with its top bit set is none (RFC 2181, 8).
        Some(ResourceRecord { owner, ttl: if ttl > u32::MAX / 2 { 0 } else { ttl }, data })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = ResourceRecord<'a>;

    /// Ends at the first record that is not sound.
    fn next(&mut self) -> Option<ResourceRecord<'a>> {
        self.left = self.left.checked_sub(1)?;
        self.record()
    }
}

/// A place in a message. Every read checks that the message goes on far enough.
#[derive(Clone, Copy)]
struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let bytes = self.message.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Id, flags, and the number of records in each of the four sections.
    fn header(&mut self) -> Option<[u16; 6]> {
        let mut words = [0; 6];
        for word in &mut words {
            *word = self.u16()?;
        }
        Some(words)
    }

    fn question(&mut self) -> Option<(Name, u16, u16)> {
        Some((self.name()?, self.u16()?, self.u16()?))
    }

    /// A name, compressed or not (RFC 1035, 4.1.4). A pointer must lead to before the piece of name
    /// it ends, so each goes further back than the last and there is no loop.
    fn name(&mut self) -> Option<Name> {
        let mut name = Name::ROOT;
        let mut from = *self;
        let mut piece = self.at;
        let mut pointers = 0;
        loop {
            match usize::from(*from.take(1)?.first()?) {
                0 => break,
                length @ 1..=MAX_LABEL => name.push(from.take(length)?)?,
                high @ 0xc0.. => {
                    let target = (high & 0x3f) << 8 | usize::from(*from.take(1)?.first()?);
                    // Never into the header.
                    if target >= piece || target < 12 || pointers == MAX_POINTERS {
                        return None;
                    }
                    if pointers == 0 {
                        self.at = from.at;
                    }
                    pointers += 1;
                    (piece, from.at) = (target, target);
                }
                // 0x40 and 0x80 mark kinds of labels that were given up (RFC 6891, 5).
                _ => return None,
            }
        }
        if pointers == 0 {
            self.at = from.at;
        }
        Some(name)
    }
}

#[cfg(test)]
mod tests;
