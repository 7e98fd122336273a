//! Makes a record that is too long fit a line: the ends of texts and lists go, and `redacted` says of which.
//! Not here: when (`Record::line`). The bounds below add up to less than a line, escapes included.

use std::sync::Arc;

use super::{Mark, Record};
use crate::decision_log::detail::Detail;
use crate::redact::{Detector, Redacted};

/// Bytes that each text from a peer keeps.
const MAX_TEXT: usize = 384;

/// Bytes that each name from the configuration keeps. JSON may take six for one (`\u0001`).
const MAX_NAME: usize = 128;

/// Elements that each list keeps.
const MAX_LIST: usize = 16;

/// Bytes that each element of `alpn` keeps: a protocol's name has at most 255, those in use less than 20.
const MAX_PROTOCOL: usize = 32;

impl Record {
    pub(super) fn shorten(&mut self) {
        let mut cut = Vec::new();
        let texts = [
            ("client_identity", &mut self.client_identity),
            ("method", &mut self.method),
            ("host", &mut self.host),
            ("sni", &mut self.sni),
            ("actor", &mut self.actor),
        ];
        for (field, text) in texts {
            if let Some(text) = text.as_mut().filter(|text| text.as_str().len() > MAX_TEXT) {
                *text = text.shortened(MAX_TEXT);
                cut.push(field);
            }
        }
        let names = [
            ("environment", &mut self.environment),
            ("listener", &mut self.listener),
            ("rule", &mut self.rule),
            ("customer", &mut self.customer),
            ("source", &mut self.source),
            ("policy", &mut self.policy),
            ("path_template", &mut self.path_template),
            ("egress_pool", &mut self.egress_pool),
            ("tls_cipher", &mut self.tls_cipher),
        ];
        for (field, name) in names {
            name.iter_mut().for_each(|name| shorten_name(field, name, &mut cut));
        }
        shorten_name("instance", &mut self.instance, &mut cut);
        shorten_list("addresses", &mut self.addresses, &mut cut);
        shorten_list("alpn", &mut self.alpn, &mut cut);
        self.alpn.iter_mut().for_each(|protocol| shorten_protocol(protocol, &mut cut));
        if !self.detail.is_empty() {
            self.detail = Detail::new();
            cut.push("detail");
        }
        self.redacted.truncate(MAX_LIST);
        cut.dedup();
        self.redacted.extend(cut.iter().map(|field| Mark { field, detector: Detector::TooLong }));
    }
}

fn shorten_name(field: &'static str, name: &mut Arc<str>, cut: &mut Vec<&'static str>) {
    if let Some(short) = name.get(..name.floor_char_boundary(MAX_NAME)).filter(|short| short.len() < name.len()) {
        *name = short.into();
        cut.push(field);
    }
}

fn shorten_list<T>(field: &'static str, list: &mut Vec<T>, cut: &mut Vec<&'static str>) {
    if list.len() > MAX_LIST {
        list.truncate(MAX_LIST);
        cut.push(field);
    }
}

fn shorten_protocol(protocol: &mut Redacted, cut: &mut Vec<&'static str>) {
    if protocol.as_str().len() > MAX_PROTOCOL {
        *protocol = protocol.shortened(MAX_PROTOCOL);
        cut.push("alpn");
    }
}
