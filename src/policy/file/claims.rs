//! Subnets and identities of all sources together: every client belongs to one source at most, and can show what it must.
//! Not here: what a pattern is (`name`), which source a client belongs to (`clients`).
//! Source: the contract's "Which source": equal subnets with overlapping identities, and identities where no listener asks for them,
//! are errors at load; so is a subnet that overlaps `proxy_protocol.from`.

use std::sync::Arc;

use ipnet::IpNet;

use super::{Context, some_of};
use crate::address::PrefixMap;
use crate::name::IdentityPattern;
use crate::redact::holds_card_number;
use crate::yaml::{Faults, Field, Located, Place};

/// An identity of a source, where it was written.
pub(super) type Listed = Located<IdentityPattern>;

/// Upper bound of identities of all sources of one subnet: a request is compared with each of them, which takes some 50 µs then.
const MAX_IDENTITIES: usize = 4096;

/// What sources have claimed so far.
pub(super) struct Claims<'a> {
    context: &'a Context<'a>,
    subnets: PrefixMap<Vec<Claim>>,
}

/// A source's claim of a subnet: of all its clients, or of those with one of these identities.
struct Claim {
    source: Arc<str>,
    place: Place,
    identities: Arc<[Listed]>,
}

impl<'a> Claims<'a> {
    /// None yet.
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self { context, subnets: PrefixMap::new() }
    }

    /// The identities that a source lists.
    pub(super) fn identities(&self, field: Option<Field<'_>>, faults: &mut Faults) -> Arc<[Listed]> {
        let Some(field) = field else { return Arc::default() };
        let listed: Arc<[Listed]> = some_of(field, faults, pattern).into();
        let Some(ways) = self.context.setting.ways else { return listed };
        if let Some(listener) = &ways.transparent {
            let message = format!(
                "clients of listener {listener}, which is `mode: transparent`, can show no identity; remove `identities`, or that listener"
            );
            faults.at(field.key_place(), message);
        }
        let credential = |listed: &&Listed| matches!(listed.value, IdentityPattern::Credential(_));
        if let Some(first) = listed.iter().find(credential).filter(|_| !ways.credentials) {
            let message =
                "no listener takes credentials; write `credentials: FILE` beside the `tls` of one, or remove it";
            faults.at(first.place, format!("`{}`: {message}", first.value));
        }
        if let Some(first) = listed.iter().find(|listed| !credential(listed)).filter(|_| !ways.certificates) {
            let message = "no listener asks for client certificates; write `client_auth: required` in the `tls` of one, or remove it";
            faults.at(first.place, format!("`{}`: {message}", first.value));
        }
        listed
    }

    /// A subnet of the source with this name and these identities.
    pub(super) fn add(
        &mut self,
        subnet: Located<IpNet>,
        (source, identities): (&Arc<str>, &Arc<[Listed]>),
        faults: &mut Faults,
    ) {
        let Located { value: subnet, place } = subnet;
        let claim = Claim { source: Arc::clone(source), place, identities: Arc::clone(identities) };
        let mut claims = self.subnets.insert(subnet, Vec::new()).unwrap_or_default();
        self.apart(subnet, &claims, &claim, faults);
        claims.push(claim);
        self.subnets.insert(subnet, claims);
        for (from, at) in self.context.setting.ways.iter().flat_map(|ways| &ways.proxies) {
            if from.contains(&subnet) || subnet.contains(from) {
                let message = format!(
                    "`{subnet}` overlaps `{from}`, from which listener {at} takes the PROXY header and no client; write subnets without it"
                );
                faults.at(place, message);
            }
        }
    }

    /// Whether no client could be another claim's as well.
    fn apart(&self, subnet: IpNet, claims: &[Claim], new: &Claim, faults: &mut Faults) {
        let count: usize = claims.iter().map(|claim| claim.identities.len()).sum();
        if count.saturating_add(new.identities.len()) > MAX_IDENTITIES {
            let message =
                format!("more than {MAX_IDENTITIES} identities for `{subnet}`; give sources subnets of their own");
            // Once, not for each that follows.
            if count <= MAX_IDENTITIES {
                faults.at(new.place, message);
            }
            return;
        }
        for claim in claims {
            let (source, at) = (&claim.source, self.context.at(claim.place));
            if claim.identities.is_empty() || new.identities.is_empty() || *source == new.source {
                let message = format!(
                    "`{subnet}` belongs to source `{source}` already, at {at}; remove it from one of the two, or tell them apart by `identities`"
                );
                return faults.at(new.place, message);
            }
            let pairs = new.identities.iter().flat_map(|new| claim.identities.iter().map(move |old| (new, old)));
            if let Some((new, old)) = pairs.into_iter().find(|(new, old)| new.value.overlaps(&old.value)) {
                let message = format!(
                    "`{}` overlaps `{}` of source `{source}`, at {}, which has `{subnet}` too; make one of the two narrower",
                    new.value,
                    old.value,
                    self.context.at(old.place)
                );
                return faults.at(new.place, message);
            }
        }
    }
}

/// An identity that records can tell.
fn pattern(field: Field<'_>, faults: &mut Faults) -> Option<Listed> {
    if holds_card_number(field.text(faults)?) {
        field.fault("the identity holds what looks like a card number; use another one", faults);
        return None;
    }
    Some(field.located(field.parse(faults)?))
}
