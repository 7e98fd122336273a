//! What signed proofs of absence say beyond absence: whether a zone begins at a name, and that nothing is closer than a wildcard. Pure.
//! Not here: whether they are signed, and that a name or kind is absent (`proof`).
//! Source: RFC 4035 sections 5.2 and 5.3.4, RFC 5155 sections 8.8 and 8.9, RFC 6840 sections 4.1 and 4.4; RFC 9276 (iterations).

use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, NSEC, NSEC3};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::cuts::Cut;
use super::evidence::{Evidence, signatures};

/// Upper bound of NSEC3 iterations (CVE-2023-50868). RFC 9276 section 3.1 wants none; zones with more than 100 were hardly seen any more
/// when it was written, and resolvers have lowered their bounds since.
pub const MAX_ITERATIONS: u16 = 100;

/// What the zone above says of `evidence`'s name, whose DS record is proven not to be there.
pub fn cut(evidence: &Evidence) -> Cut {
    let name = &evidence.query.name;
    let begins = |here: &dyn Fn(RecordType) -> bool| here(RecordType::NS) && !here(RecordType::SOA);
    for (owner, nsec) in nsecs(&evidence.authorities) {
        if owner == name {
            return if begins(&|kind| nsec.type_set().contains(kind)) { Cut::Insecure } else { Cut::Inside };
        }
    }
    for (owner, nsec3) in nsec3s(&evidence.authorities) {
        if hashed(nsec3, name).is_some_and(|hash| owner_hash(owner) == Some(hash)) {
            return if begins(&|kind| nsec3.type_set().contains(kind)) { Cut::Insecure } else { Cut::Inside };
        }
    }
    // Opt-out: zones that are not signed may be there without a word (RFC 5155 section 6).
    if nsec3s(&evidence.authorities).any(|(owner, nsec3)| nsec3.opt_out() && covers_hash(owner, nsec3, name)) {
        return Cut::Insecure;
    }
    let has_names_below = nsecs(&evidence.authorities).any(|(_, nsec)| name.zone_of(nsec.next_domain_name()));
    if has_names_below && evidence.code == ResponseCode::NoError { Cut::Inside } else { Cut::Nothing }
}

/// Whether an answer was made from a wildcard only where nothing closer to the name is there. It holds for what was made from none.
pub fn nothing_closer(evidence: &Evidence) -> bool {
    let name = &evidence.query.name;
    let labels = signatures(&evidence.answers).map(|(_, signature)| signature.input().num_labels).min();
    let Some(labels) = labels.filter(|labels| *labels < name.num_labels()) else { return true };
    let labels = usize::from(labels);
    let closer = name.trim_to(labels.saturating_add(1));
    nsec3s(&evidence.authorities).any(|(owner, nsec3)| covers_hash(owner, nsec3, &closer))
        || nsecs(&evidence.authorities).any(|(owner, nsec)| {
            let encloser = common_labels(name, owner).max(common_labels(name, nsec.next_domain_name()));
            covers(owner, nsec, name) && encloser == labels
        })
}

fn nsecs(records: &[Record]) -> impl Iterator<Item = (&Name, &NSEC)> {
    records.iter().filter_map(|record| {
        if let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &record.data { Some((&record.name, nsec)) } else { None }
    })
}

fn nsec3s(records: &[Record]) -> impl Iterator<Item = (&Name, &NSEC3)> {
    records.iter().filter_map(|record| {
        if let RData::DNSSEC(DNSSECRData::NSEC3(nsec3)) = &record.data { Some((&record.name, nsec3)) } else { None }
    })
}

/// Whether `name` would stand between the two. The last one's next is the zone itself. What a zone above a cut says is not about what is
/// below (RFC 6840 section 4.1).
fn covers(owner: &Name, nsec: &NSEC, name: &Name) -> bool {
    let next = nsec.next_domain_name();
    let is_above =
        (nsec.is_ancestor_delegation() || nsec.type_set().contains(RecordType::DNAME)) && owner.zone_of(name);
    !is_above && owner < name && (name < next || (next <= owner && next.zone_of(name)))
}

/// The same for hashes: their text sorts as they do.
fn covers_hash(owner: &Name, nsec3: &NSEC3, name: &Name) -> bool {
    let (Some(hash), Some(owner_hash)) = (hashed(nsec3, name), owner_hash(owner)) else { return false };
    let next = base32(nsec3.next_hashed_owner_name());
    let is_last = next <= owner_hash;
    owner.base_name().zone_of(name)
        && if is_last { owner_hash < hash || hash < next } else { owner_hash < hash && hash < next }
}

/// The hash that a record is of: servers write it in either case.
fn owner_hash(owner: &Name) -> Option<Vec<u8>> {
    owner.iter().next().map(<[u8]>::to_ascii_lowercase)
}

/// The label that a name has in a zone whose names are hashed. `None`: with too many iterations.
fn hashed(nsec3: &NSEC3, name: &Name) -> Option<Vec<u8>> {
    let iterations = Some(nsec3.iterations()).filter(|count| *count <= MAX_ITERATIONS)?;
    let hash = nsec3.hash_algorithm().hash(nsec3.salt(), name, iterations).ok()?;
    Some(base32(hash.as_ref()))
}

/// RFC 4648 section 7, in lower case. A SHA-1 hash has no remainder; of anything else it is left out.
fn base32(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: [u8; 32] = *b"0123456789abcdefghijklmnopqrstuv";
    let mut text = Vec::with_capacity(32);
    for chunk in bytes.chunks_exact(5) {
        let number = chunk.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let digits = (0..8).rev().map(|place| usize::try_from(number >> (place * 5) & 31).unwrap_or_default());
        text.extend(digits.filter_map(|digit| DIGITS.get(digit)));
    }
    text
}

fn common_labels(one: &Name, other: &Name) -> usize {
    let pairs = one.iter().rev().zip(other.iter().rev());
    pairs.take_while(|(one, other)| one.eq_ignore_ascii_case(other)).count()
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::dnssec::Nsec3HashAlgorithm;

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    /// RFC 5155 appendix A.
    fn nsec3(next: &[u8], opt_out: bool, iterations: u16) -> NSEC3 {
        NSEC3::new(Nsec3HashAlgorithm::SHA1, opt_out, iterations, vec![0xaa, 0xbb, 0xcc, 0xdd], next.to_vec(), [])
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        for (text, want) in [
            ("example.", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example.", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("X.Y.W.example.", "2vptu5timamqttgl4luu9kg21e0aor3s"),
        ] {
            assert_eq!(hashed(&nsec3(&[], false, 12), &name(text)).as_deref(), Some(want.as_bytes()), "{text}");
        }
        assert!(hashed(&nsec3(&[], false, MAX_ITERATIONS), &name("example.")).is_some());
        assert_eq!(hashed(&nsec3(&[], false, MAX_ITERATIONS + 1), &name("example.")), None);
    }

    #[test]
    fn a_hash_is_covered_between_two_others_and_around_the_end() {
        // The hash of `a.example` begins with 35.
        let hash = |first: u8| [[first << 3].as_slice(), &[0; 19]].concat();
        let text = |first: u8| String::from_utf8(base32(&hash(first))).unwrap();
        for (what, zone, owner, next, want) in [
            ("between", "example.", 2, 4, true),
            ("before", "example.", 4, 9, false),
            ("behind", "example.", 1, 2, false),
            ("around the end, behind", "example.", 2, 1, true),
            ("around the end, before", "example.", 9, 4, true),
            ("around the end, neither", "example.", 9, 2, false),
            ("of another zone", "other.", 2, 4, false),
        ] {
            let owner = name(&format!("{}.{zone}", text(owner)));
            assert_eq!(covers_hash(&owner, &nsec3(&hash(next), false, 12), &name("a.example.")), want, "{what}");
        }
    }

    #[test]
    fn a_name_is_covered_between_two_others_but_not_below_a_cut() {
        let delegation = [RecordType::NS];
        for (what, owner, next, types, asked, want) in [
            ("between", "a.example.", "c.example.", &[RecordType::A][..], "b.example.", true),
            ("the name itself", "b.example.", "c.example.", &[RecordType::A], "b.example.", false),
            ("the next one", "a.example.", "b.example.", &[RecordType::A], "b.example.", false),
            ("the last one", "a.example.", "example.", &[RecordType::A], "b.example.", true),
            ("the last one of another zone", "a.other.", "other.", &[RecordType::A], "b.example.", false),
            ("below a cut", "a.example.", "c.example.", &delegation, "b.a.example.", false),
            ("beside a cut", "a.example.", "c.example.", &delegation, "b.example.", true),
            ("below a zone's own", "example.", "c.example.", &[RecordType::NS, RecordType::SOA], "b.example.", true),
            ("below what is moved", "a.example.", "c.example.", &[RecordType::DNAME], "b.a.example.", false),
        ] {
            let nsec = NSEC::new(name(next), types.iter().copied());
            assert_eq!(covers(&name(owner), &nsec, &name(asked)), want, "{what}");
        }
    }
}
