//! Whatever a far side answers, in whatever pieces: each transaction has one end, and none is made up.

use proptest::prelude::*;

use super::*;

/// A far side that answers each command with the next of its replies, and takes a body where it said 3yz to DATA.
struct FarSide {
    replies: Vec<String>,
    next: usize,
    said: String,
    is_in_body: bool,
    octets: usize,
    is_last_chunk: bool,
    /// Of each body that was ended, the first digit of its reply.
    ends: Vec<u8>,
}

impl FarSide {
    fn new(replies: Vec<String>) -> Self {
        let said = String::new();
        Self { replies, next: 0, said, is_in_body: false, octets: 0, is_last_chunk: false, ends: Vec::new() }
    }

    fn reply(&mut self) -> String {
        let reply = self.replies[self.next % self.replies.len()].clone();
        self.next += 1;
        reply
    }

    fn end_of_body(&mut self) -> String {
        let reply = self.reply();
        self.ends.push(reply.as_bytes()[0]);
        reply
    }

    /// What it says to all that has been said to it.
    fn hears(&mut self, text: &str) -> String {
        self.said.push_str(text);
        let mut replies = String::new();
        while let Some(reply) = self.step() {
            replies.push_str(&reply);
        }
        replies
    }

    fn step(&mut self) -> Option<String> {
        if self.octets > 0 {
            let taken = self.octets.min(self.said.len());
            self.said.drain(..taken);
            self.octets -= taken;
            return (self.octets == 0)
                .then(|| if self.is_last_chunk { self.end_of_body() } else { self.reply() });
        }
        let end = self.said.find("\r\n")?;
        let line: String = self.said.drain(..end + 2).collect();
        if self.is_in_body {
            self.is_in_body = line != ".\r\n";
            return if self.is_in_body { Some(String::new()) } else { Some(self.end_of_body()) };
        }
        if let Some(size) = line.strip_prefix("BDAT ") {
            self.octets = size.split([' ', '\r']).next().and_then(|size| size.parse().ok()).expect("a size");
            self.is_last_chunk = line.contains("LAST");
            return Some(String::new());
        }
        let reply = self.reply();
        self.is_in_body = line == "DATA\r\n" && reply.starts_with('3');
        Some(reply)
    }
}

/// What a whole connection gave.
#[derive(Debug, PartialEq)]
struct Run {
    said: String,
    finished: Vec<Vec<String>>,
    end: String,
    ends: Vec<u8>,
}

/// Runs a connection to its end. What is heard comes in pieces of these sizes.
fn run(settings: Settings, replies: Vec<String>, messages: &[usize], sizes: &[usize]) -> Run {
    let mut talk = Talk::new(settings, Channel::Clear);
    let mut far = FarSide::new(replies);
    let (mut messages, mut sizes) = (messages.iter(), sizes.iter().copied().cycle());
    let (mut said, mut heard) = (talk.run(), far.reply());
    while talk.ended.is_none() {
        let mut text = if heard.is_empty() { go_on(&mut talk, &mut messages) } else { String::new() };
        let mut rest = heard.as_bytes();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
            text.push_str(&talk.hears(piece));
            rest = behind;
        }
        heard = far.hears(&text);
        said.push_str(&text);
    }
    let finished = talk.finished.iter().map(|answers| answers.iter().map(brief).collect()).collect();
    Run { said, finished, end: talk.end(), ends: far.ends }
}

/// What the shell does while nothing is to be heard.
fn go_on<'a>(talk: &mut Talk, messages: &mut impl Iterator<Item = &'a usize>) -> String {
    if std::mem::take(&mut talk.wants_tls) {
        talk.client.tls_established(talk.now);
        return talk.run();
    }
    assert!(talk.is_ready, "it waits for a reply to nothing");
    match messages.next() {
        Some(count) => talk.sends(mail(&vec!["bob"; *count])),
        None => {
            talk.client.quit();
            talk.run()
        }
    }
}

fn replies() -> impl Strategy<Value = Vec<String>> {
    let code = prop_oneof![
        12 => Just("250"),
        3 => Just("354"),
        3 => prop::sample::select(vec!["220", "334", "421", "450", "451", "452", "503", "550", "552", "554"]),
    ];
    let keyword =
        prop::sample::select(vec!["PIPELINING", "CHUNKING", "STARTTLS", "LIMITS RCPTMAX=2", "x", ""]);
    let text = prop::sample::select(vec!["", " ok", " 4.5.3 too many recipients", " PIPELINING"]);
    let reply = (code, prop::collection::vec(keyword, 0..4), text).prop_map(|(code, keywords, text)| {
        let lines: String = keywords.iter().map(|keyword| format!("{code}-{keyword}\r\n")).collect();
        format!("{lines}{code}{text}\r\n")
    });
    prop::collection::vec(prop_oneof![40 => reply, 1 => Just("what?\r\n".to_owned())], 1..40)
}

proptest! {
    #[test]
    fn each_transaction_has_one_end_and_none_is_made_up(replies in replies(), messages in prop::collection::vec(0_usize..4, 1..4), chunking: bool) {
        let settings = Settings { chunking, ..settings() };
        let run = run(settings, replies, &messages, &[1 << 20]);
        prop_assert!(run.finished.len() <= messages.len());
        for (answers, count) in run.finished.iter().zip(&messages) {
            prop_assert_eq!(answers.len(), *count);
        }
        let is = |answers: &&Vec<String>, word: &str| answers.iter().any(|one| one.contains(word));
        let accepted = run.finished.iter().filter(|answers| is(answers, "accepted")).count();
        let unknown = run.finished.iter().filter(|answers| is(answers, "unknown")).count();
        let ended_well = run.ends.iter().filter(|digit| **digit == b'2').count();
        // A body that nobody was accepted for is ended by a dot too, and gives nobody anything.
        prop_assert!(accepted <= ended_well && accepted + unknown <= run.ends.len(), "{run:?}");
        prop_assert!(run.finished.iter().rev().skip(1).all(|answers| !is(&answers, "unknown")), "{run:?}");
    }

    #[test]
    fn any_split_of_the_replies_gives_the_same(replies in replies(), messages in prop::collection::vec(0_usize..4, 1..4), chunking: bool, sizes in prop::collection::vec(1_usize..9, 1..5)) {
        let settings = Settings { chunking, ..settings() };
        let whole = run(settings.clone(), replies.clone(), &messages, &[1 << 20]);
        prop_assert_eq!(run(settings, replies, &messages, &sizes), whole);
    }

    #[test]
    fn any_bytes_are_heard_without_a_panic(pieces in prop::collection::vec(prop_oneof![
        3 => prop::sample::select(vec!["250 ok\r\n", "250-PIPELINING\r\n", "250-STARTTLS\r\n", "354 go\r\n", "220 mx\r\n", "550 no\r\n"]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ], 0..30)) {
        let mut talk = Talk::new(settings(), Channel::Clear);
        let mut begun = 0;
        for piece in pieces {
            talk.hears(piece);
            if std::mem::take(&mut talk.wants_tls) {
                talk.client.tls_established(talk.now);
                talk.run();
            }
            if talk.is_ready && talk.ended.is_none() {
                begun += 1;
                talk.sends(mail(&["bob", "cid"]));
            }
        }
        talk.closes();
        prop_assert!(talk.ended.is_some());
        prop_assert_eq!(talk.finished.len(), begun);
        prop_assert!(talk.finished.iter().all(|answers| answers.len() == 2));
    }
}
