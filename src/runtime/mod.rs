//! Where the product touches the world: sockets, files, clocks, threads. Everything else is pure and called from here.
//! Not here: decisions (`policy`), what a record or a hello says (`decision_log`, `tls`).
//!
//! Read [`session`] first: the straight line that every request takes.

pub mod admin;
pub mod answer;
pub mod archive;
pub mod asking;
pub mod authorization;
pub mod balance;
pub mod blocks;
pub mod budgets;
pub mod canary;
pub mod captured;
pub mod change_guard;
pub mod circles;
pub mod client_auth;
pub mod clock;
pub mod denials;
pub mod dial;
pub mod dns;
pub mod egress;
pub mod entrance;
pub mod environment;
pub mod events;
pub mod facts;
pub mod front;
pub mod gate;
pub mod head;
pub mod head_reader;
pub mod heartbeat;
pub mod hello;
pub mod journal;
pub mod key_pair;
pub mod lane;
pub mod layout;
pub mod lifecycle;
pub mod listeners;
pub mod load;
pub mod metrics;
pub mod orders;
pub mod process;
pub mod process_log;
pub mod profile;
pub mod proxy_header;
pub mod quota;
pub mod reloads;
pub mod server;
pub mod service_manager;
pub mod session;
pub mod shared;
pub mod stream;
pub mod succession;
pub mod sys;
pub mod tally;
#[cfg(test)]
mod testing;
pub mod thread;
pub mod timed;
pub mod tunnel;
pub mod watch;
pub mod whole_file;
pub mod worker;
