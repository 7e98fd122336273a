//! **sallyport**: the one guarded way out of a payment-card network.
//!
//! A forward proxy that lets named sources reach named customers over TLS that it has checked, and nothing else, and that keeps a
//! record of every decision.
//!
//! What users rely on stands in `docs/contract.md`; comments call it the contract.
//!
//! # The straight line
//! Every request takes this way, in one function that a newcomer reads first, `runtime::session`:
//! ```text
//! accept → identify → read the head → policy: request → log healthy? → resolve → policy: addresses → dial
//!        → 200 → read the ClientHello → policy: hello → record committed ⇒ Permit → forward, judging the server's first flight → close record
//! ```
//! Whichever way a client comes in (plain, TLS with certificates, HTTP/2, behind a load balancer, captured, a Unix socket), it comes to
//! this line: those are the front doors, `runtime::front`, and none is a second way out.
//!
//! The stages are types, `Identified → Admitted → Routed → Allowed`, each made only by the policy stage before it. A refusal is a
//! value, [`policy::Denial`], and the only early exit. [`runtime::tunnel::forward`] takes a [`decision_log::Permit`] by value, and
//! only the decision log makes permits: no client byte leaves without a record.
//!
//! # The house
//! | module | what it is | may use |
//! |---|---|---|
//! | [`name`] | host names, patterns, targets: parsed once, canonical ever after | – |
//! | [`address`] | special-purpose tables, longest-prefix sets | – |
//! | [`redact`] | detectors, marks, [`redact::Redacted`]: the only text from peers that is written | – |
//! | [`yaml`] | a document as a tree with places; every fault, not only the first | – |
//! | [`tls`] | records, ClientHello, ServerHello, from bytes alone | `name` |
//! | [`policy`] | files → compiled policy; one file a stage; decisions and reasons | `name` `address` `tls` `redact` `yaml` |
//! | [`decision_log`] | records, the log and its store | `name` `tls` `redact` `policy` |
//! | [`evidence`] | what an assessor gets: exports and their manifest, all that is allowed | `redact` `policy` `decision_log` |
//! | [`foresight`] | what the log and peers' configurations say of a policy: unused rules, changed decisions, new rules | `name` `address` `tls` `redact` `yaml` `policy` `decision_log` |
//! | [`config`] | `sallyport.yaml`: as written → checked | `name` `address` `redact` `yaml` |
//! | [`firewall`] | configuration → the kernel's rules that go with it | `address` `config` |
//! | [`runtime`] | where the product touches the world | all but `cli` |
//! | [`cli`] | one file a command | all |
//!
//! Outside `runtime` and `cli` there are no sockets, files, paths, clocks, randomness, environment or logging: pure code returns
//! values. A test reads the imports and fails on a wrong one. `unsafe` is denied but for `runtime/sys.rs`.
//!
//! # Invariants
//! 1. Nothing is forwarded that the policy does not allow; every unknown is a denial.
//! 2. Every decision is in the log before a client byte is forwarded.
//! 3. Nothing sensitive is written: what peers sent passes [`redact::clean`] first, by type.
//! 4. A bad policy, a lost disk, a dead resolver or a flood makes the proxy refuse, never open.
//! 5. A change of policy or of the program loses no tunnel that is still allowed.

pub mod address;
pub mod cli;
pub mod config;
pub mod decision_log;
pub mod evidence;
pub mod firewall;
pub mod foresight;
pub mod name;
pub mod policy;
pub mod redact;
pub mod runtime;
pub mod tls;
pub mod yaml;
