//! The in-memory path of a request, from its head to its records, for counting instructions: `path N` takes it N times, `path count`
//! counts it by callgrind and prints `instructions.txt`.
//! Not here: time (`line`, `commit`, `relay`, and the load rig), the kernel's share of the cost.
#![expect(clippy::expect_used, reason = "a count that cannot be set up stops")]

#[path = "../shared/client_hello.rs"]
mod client_hello;
mod count;
#[path = "../shared/memory.rs"]
mod memory;
#[path = "../shared/policy.rs"]
mod policy;
#[path = "../shared/server_hello.rs"]
mod server_hello;
mod session;
mod setting;
mod step;
mod walk;

use tokio::task::LocalSet;

fn main() {
    // `cargo bench` adds a flag of its own.
    match std::env::args().skip(1).find(|argument| !argument.starts_with('-')).as_deref() {
        Some("count") => print!("{}", count::table()),
        Some(times) => take(times.parse().expect("a number of requests, or `count`")),
        None => {}
    }
}

/// Takes the path `times` times by its steps, and as often as the product does.
fn take(times: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let setting = setting::Setting::new().await;
        let mut log = walk::Records::default();
        for _ in 0..times {
            walk::request(&setting, &mut log).await;
        }
        for _ in 0..times {
            session::request(&setting).await;
        }
        setting.close();
    });
}
