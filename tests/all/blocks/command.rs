//! `sallyport block` against a running proxy: what it does, prints and ends with.

use std::fs;

use serde_json::{Value, json};

use super::Scene;
use crate::origins;
use crate::programs::{Finished, finish, sallyport};

/// The command, for the admin port of a running proxy.
fn command(scene: &Scene, args: &[&str]) -> Finished {
    let dir = scene.proxy().dir.path();
    let config = fs::read_to_string(dir.join("sallyport.yaml")).unwrap();
    let admin = scene.proxy().admin;
    fs::write(
        dir.join("cli.yaml"),
        config.replace("address: \"127.0.0.1:0\", tokens", &format!("address: \"{admin}\", tokens")),
    )
    .unwrap();
    fs::write(dir.join("token"), format!("{}\n", scene.guarded.operator)).unwrap();
    let mut command = sallyport();
    command.arg("block").args(args).arg("-c").arg(dir.join("cli.yaml")).arg("--token-file").arg(dir.join("token"));
    finish(&mut command, "")
}

#[test]
fn the_command_blocks_and_lists() {
    let scene = Scene::new();
    let mut tunnel = scene.tunnel("host");
    let empty = command(&scene, &["--list"]);
    assert_eq!((empty.code, empty.out.as_str()), (Some(0), "nothing is blocked\n"), "{empty:?}");
    let done = command(&scene, &["--host", "host.test", "--for", "2h", "--reason", "a leak"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.out.starts_with("host `host.test` is blocked until ") && done.out.contains(", 1 tunnel cut (block "),
        "{done:?}"
    );
    assert!(origins::ends(&mut tunnel));
    let json = command(&scene, &["--list", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&json.out).unwrap()["blocks"], json!(scene.list()), "{json:?}");
    let list = command(&scene, &["--list"]);
    assert!(list.out.starts_with("UNTIL ") && list.out.contains("host `host.test`  a leak  "), "{list:?}");
    for (args, code, says) in [
        (
            &["--source", "nobody", "--for", "2h", "--reason", "x"][..],
            1,
            "nothing is blocked: the policy in force has no such name",
        ),
        (&["--host", "a b", "--for", "2h", "--reason", "x"], 1, "nothing is blocked: this cannot be blocked: `host`: "),
        (&["--host", "a.test", "--for", "2h"], 2, "--reason"),
        (&["--host", "a.test", "--reason", "x"], 2, "--until"),
        (&["--host", "a.test", "--source", "b", "--for", "2h", "--reason", "x"], 2, "cannot be used with"),
        (&["--list", "--reason", "x"], 2, "cannot be used with"),
    ] {
        let done = command(&scene, args);
        assert_eq!(done.code, Some(code), "{args:?}: {done:?}");
        assert!(done.err.contains(says) && done.out.is_empty(), "{args:?}: {done:?}");
    }
    let until = scene.list()[0]["until"].as_str().unwrap().to_owned();
    assert_eq!(command(&scene, &["--source", "nobody", "--force", "--until", &until, "--reason", "x"]).code, Some(0));
    let explain = |file: &str| {
        let dir = scene.proxy().dir.path();
        let mut command = sallyport();
        command.args(["explain", "--source", "127.0.0.1", "--target", &format!("host.test:{}", scene.port)]);
        finish(command.arg("-c").arg(dir.join(file)), "")
    };
    let explained = explain("cli.yaml");
    assert_eq!(explained.code, Some(1), "{explained:?}");
    assert!(explained.out.contains("block      host `host.test` is blocked until "), "{explained:?}");
    assert!(
        explained.err.starts_with("with the emergency blocks of ") && explained.err.ends_with("blocks.tests.json: 2\n")
    );
    let dir = scene.guarded.proxy.kill();
    let gone = finish(
        sallyport()
            .args(["block", "--list", "--token-file"])
            .arg(dir.path().join("token"))
            .arg("-c")
            .arg(dir.path().join("cli.yaml")),
        "",
    );
    assert_eq!(gone.code, Some(3), "{gone:?}");
}
