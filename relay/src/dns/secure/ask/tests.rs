//! Tests of what an answer stands on, on responses whose records are marked as the library marks them. **Owns:** nothing.
//! **Never:** a signature: those are checked against a real nameserver, end to end.

use hickory_proto::{
    op::{OpCode, ResponseCode},
    rr::rdata::{A, CNAME, SOA},
};

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn marked(of: &str, proof: Proof, data: RData) -> Record {
    let mut record = Record::from_rdata(name(of), 60, data);
    record.proof = proof;
    record
}

fn a(of: &str, proof: Proof) -> Record {
    marked(of, proof, RData::A(A([192, 0, 2, 1].into())))
}

fn cname(of: &str, to: &str, proof: Proof) -> Record {
    marked(of, proof, RData::CNAME(CNAME(name(to))))
}

fn soa(of: &str, proof: Proof) -> Record {
    marked(of, proof, RData::SOA(SOA::new(name("ns."), name("ns."), 1, 1, 1, 1, 30)))
}

fn denial(proof: Proof) -> Record {
    use hickory_proto::dnssec::rdata::NSEC;
    let nsec = NSEC::new(name("z.example."), [RecordType::A]);
    marked("a.example.", proof, RData::DNSSEC(DNSSECRData::NSEC(nsec)))
}

fn response(code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record>) -> Message {
    let mut message = Message::response(0, OpCode::Query);
    message.metadata.response_code = code;
    message.insert_answers(answers);
    message.insert_authorities(authorities);
    message
}

/// What a response says to the question for the address of `mx.example`; an alias to ask for as `Err`.
fn said(message: &Message) -> Result<Vouched<std::net::Ipv4Addr>, Name> {
    match step(message, &name("mx.example.")) {
        Step::Said { vouched, .. } => Ok(vouched),
        Step::Alias { target, .. } => Err(target),
    }
}

const BOGUS: Result<Vouched<std::net::Ipv4Addr>, Name> = Ok(Vouched::Failed(DnsFailure::Bogus));

#[test]
fn records_are_worth_as_much_as_the_weakest_on_the_way_to_them() {
    let chain = |alias, address| {
        let answers = vec![cname("mx.example.", "end.example.", alias), a("end.example.", address)];
        said(&response(ResponseCode::NoError, answers, vec![]))
    };
    assert!(matches!(chain(Proof::Secure, Proof::Secure), Ok(Vouched::Secure(_))));
    assert_eq!(chain(Proof::Secure, Proof::Insecure), Ok(Vouched::Insecure));
    assert_eq!(chain(Proof::Insecure, Proof::Secure), Ok(Vouched::Insecure));
    assert_eq!(chain(Proof::Secure, Proof::Bogus), BOGUS);
    assert_eq!(chain(Proof::Bogus, Proof::Secure), BOGUS);
    assert_eq!(chain(Proof::Secure, Proof::Indeterminate), BOGUS);
}

#[test]
fn one_record_without_a_proof_spoils_the_set() {
    let answers = vec![a("mx.example.", Proof::Secure), a("mx.example.", Proof::Bogus)];
    assert_eq!(said(&response(ResponseCode::NoError, answers, vec![])), BOGUS);
}

#[test]
fn a_denial_is_proven_by_the_zone_and_its_code_says_of_what() {
    let denied =
        |code| said(&response(code, vec![], vec![soa("example.", Proof::Secure), denial(Proof::Secure)]));
    assert_eq!(denied(ResponseCode::NoError), Ok(Vouched::SecureNoData));
    assert_eq!(denied(ResponseCode::NXDomain), Ok(Vouched::SecureNxDomain));
    assert_eq!(denied(ResponseCode::ServFail), BOGUS);
}

#[test]
fn an_unsigned_zone_elsewhere_says_nothing_of_this_one() {
    let with = |of| said(&response(ResponseCode::NoError, vec![], vec![soa(of, Proof::Insecure)]));
    assert_eq!(with("example."), Ok(Vouched::Insecure));
    assert_eq!(with("unsigned.test."), BOGUS);
}

#[test]
fn what_is_not_at_the_end_of_an_alias_is_asked_for_there() {
    let answers = vec![cname("mx.example.", "end.example.", Proof::Secure)];
    let message = response(ResponseCode::NXDomain, answers, vec![soa("example.", Proof::Secure)]);
    assert_eq!(said(&message), Err(name("end.example.")));
}

#[test]
fn aliases_in_a_circle_end() {
    let answers = vec![cname("mx.example.", "mx.example.", Proof::Secure)];
    assert_eq!(said(&response(ResponseCode::NoError, answers, vec![])), BOGUS);
}
