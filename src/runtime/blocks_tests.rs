//! The book of blocks and its file: what a restart, a hand, a full disk and the clock make of it.

use std::fs;

use jiff::ToSpan;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::policy::BlockKind;
use crate::runtime::egress::Pools;
use crate::runtime::testing;

const POLICY: &str = "version: 1\nsources: []\nrules: []\n";

struct Scene {
    folder: TempDir,
    shared: Arc<Shared>,
    book: BlockBook,
}

impl Scene {
    fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap(), "")
    }

    /// With this in the file.
    fn on(folder: TempDir, text: &str) -> Self {
        let (shared, _) = testing::shared(folder.path(), POLICY, Pools::default());
        if !text.is_empty() {
            fs::write(file(&folder), text).unwrap();
        }
        let book = open(&folder).unwrap();
        book.begin(&shared);
        Self { folder, shared, book }
    }

    fn add(&self, kind: BlockKind, text: &str, hours: i64) -> Added {
        let what = Blocked::read(kind, text).unwrap();
        let reason = Redactor::default().clean(b"a leak", 100).text;
        self.book.add(&self.shared, what, reason, clock::now() + hours.hours()).unwrap()
    }

    /// What is in force, in the order in which it was asked for.
    fn in_force(&self) -> Vec<String> {
        self.shared.policy().blocks().iter().map(|block| block.what.text()).collect()
    }

    fn text(&self) -> String {
        fs::read_to_string(file(&self.folder)).unwrap()
    }

    /// The details of its records about blocks, once all are written.
    fn told(self) -> Vec<Value> {
        assert!(!self.shared.journal().shutdown().any());
        let records = testing::records(self.folder.path()).into_iter();
        records.filter(|record| record["kind"] != "start").map(|record| record["detail"].clone()).collect()
    }
}

fn open(folder: &TempDir) -> Result<BlockBook, BlocksError> {
    BlockBook::open((&folder.path().join("state"), "edge-1"), &Redactor::default(), clock::now())
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("state/blocks.edge-1.json")
}

#[test]
fn a_block_is_in_force_at_once_and_after_a_restart() {
    let scene = Scene::new();
    let first = scene.add(BlockKind::Host, "api.acme.example", 1);
    scene.add(BlockKind::Customer, "acme", 2);
    assert_eq!(scene.in_force(), ["api.acme.example", "acme"], "before anything is written");
    scene.book.keep(&scene.shared).unwrap();
    assert_eq!(fs::metadata(file(&scene.folder)).unwrap().mode() & 0o777 & !0o640, 0);
    let Scene { folder, shared, .. } = scene;
    assert!(!shared.journal().shutdown().any());
    drop(shared);
    let (again, _) = testing::shared(folder.path(), POLICY, Pools::default());
    open(&folder).unwrap().begin(&again);
    assert_eq!(again.policy().blocks().iter().next(), Some(&first.block));
    assert_eq!(again.policy().blocks().len(), 2);
}

#[test]
fn the_same_again_puts_the_end_off_and_never_brings_it_forward() {
    let scene = Scene::new();
    let first = scene.add(BlockKind::Source, "ivr", 2);
    for (hours, want) in [(1, 2), (5, 5), (3, 5)] {
        let again = scene.add(BlockKind::Source, "ivr", hours);
        assert_eq!((again.is_new, again.block.id, again.block.since), (false, first.block.id, first.block.since));
        let from_now = again.block.until.duration_since(clock::now()).as_secs().div_euclid(60);
        assert!((want * 60 - 1..=want * 60).contains(&from_now), "{hours}: {from_now} minutes");
    }
    assert_eq!(scene.in_force(), ["ivr"]);
    let over = clock::now() + 6.hours();
    scene.book.look(&scene.shared, over);
    assert!(scene.in_force().is_empty());
    let told = scene.told();
    assert_eq!(
        (told.len(), &told[0]["result"], &told[0]["block"]["source"]),
        (1, &"block_ended".into(), &"ivr".into())
    );
}

#[test]
fn there_are_so_many_and_no_more() {
    let scene = Scene::new();
    let reason = Redactor::default().clean(b"x", 10).text;
    let until = clock::now() + 1.hours();
    let add = |number: usize| {
        let what = Blocked::read(BlockKind::Customer, &format!("c{number}")).unwrap();
        scene.book.add(&scene.shared, what, reason.clone(), until)
    };
    assert!((0..MAX_BLOCKS).all(|number| add(number).is_ok_and(|added| added.is_new)));
    assert_eq!(add(MAX_BLOCKS), Err(TooMany));
    assert!(add(0).is_ok_and(|added| !added.is_new), "one that is there already");
    scene.book.keep(&scene.shared).unwrap();
    assert!(fs::metadata(file(&scene.folder)).unwrap().len() < MAX_FILE);
}

#[test]
fn a_policy_that_is_loaded_again_keeps_them() {
    let scene = Scene::new();
    scene.add(BlockKind::Network, "203.0.113.0/24", 1);
    let before = scene.shared.policy();
    scene.shared.set_policy(&crate::policy::testing::policy(POLICY));
    assert!(!Arc::ptr_eq(&before, &scene.shared.policy()));
    assert_eq!(scene.in_force(), ["203.0.113.0/24"]);
}

#[test]
fn what_a_hand_takes_out_is_lifted_and_what_it_adds_holds() {
    let scene = Scene::new();
    scene.add(BlockKind::Host, "a.example", 1);
    scene.add(BlockKind::Host, "b.example", 1);
    scene.book.keep(&scene.shared).unwrap();
    let mut page: Value = serde_json::from_str(&scene.text()).unwrap();
    page["blocks"].as_array_mut().unwrap().remove(0);
    page["blocks"][0]["until"] = "2099-01-01T00:00:00Z".into();
    let by_hand = json!({"network": "192.0.2.1", "reason": "by hand", "until": "2099-01-01T00:00:00Z"});
    page["blocks"].as_array_mut().unwrap().push(by_hand);
    fs::write(file(&scene.folder), page.to_string()).unwrap();
    assert_eq!(scene.in_force(), ["a.example", "b.example"], "not before it is read");
    // One that is asked for meanwhile is not lost, and loses nothing of what the hand did.
    scene.add(BlockKind::Host, "c.example", 1);
    scene.book.keep(&scene.shared).unwrap();
    assert_eq!(scene.in_force(), ["c.example", "b.example", "192.0.2.1/32"]);
    assert!(scene.book.judge.load(Ordering::Relaxed), "open tunnels are to be judged");
    let text = scene.text();
    assert!(text.contains("c.example") && text.contains("192.0.2.1/32") && !text.contains("a.example"), "{text}");
    scene.book.keep(&scene.shared).unwrap();
    assert_eq!(scene.text(), text, "read once");
    let told: Vec<String> = scene.told().iter().map(|detail| detail["result"].to_string()).collect();
    assert_eq!(told, ["\"block_lifted\"", "\"block_changed\"", "\"block_added\""]);
}

/// What an edit of the file by hand does.
type Edit = fn(&mut Vec<Value>);

#[test]
fn what_is_asked_for_is_not_lifted_by_an_edit_from_before() {
    let gone: Edit = |blocks| blocks.clear();
    let sooner: Edit = |blocks| blocks[0]["until"] = "2020-01-01T00:00:00Z".into();
    let other: Edit = |blocks| blocks[0]["host"] = "b.example".into();
    let later: Edit = |blocks| blocks[0]["until"] = "2099-01-01T00:00:00Z".into();
    for (row, edit, hours, want) in [
        ("taken out", gone, 1, vec!["a.example"]),
        ("taken out, asked for until later", gone, 9, vec!["a.example"]),
        ("over", sooner, 1, vec!["a.example"]),
        ("something else under its id", other, 1, vec!["a.example", "b.example"]),
        ("put off", later, 1, vec!["a.example"]),
    ] {
        let scene = Scene::new();
        scene.add(BlockKind::Host, "a.example", 2);
        scene.book.keep(&scene.shared).unwrap();
        let mut page: Value = serde_json::from_str(&scene.text()).unwrap();
        edit(page["blocks"].as_array_mut().unwrap());
        fs::write(file(&scene.folder), page.to_string()).unwrap();
        let added = scene.add(BlockKind::Host, "a.example", hours);
        scene.book.keep(&scene.shared).unwrap();
        assert_eq!(scene.in_force(), want, "{row}");
        let held = Arc::clone(scene.shared.policy().blocks().iter().next().unwrap());
        assert!(held.id == added.block.id && held.until >= added.block.until, "{row}: {held:?}");
        assert_eq!(held.until > added.block.until, row == "put off", "{row}");
        let ids: HashSet<Uuid> = scene.shared.policy().blocks().iter().map(|block| block.id).collect();
        assert_eq!(ids.len(), want.len(), "{row}");
        assert_eq!(open(&scene.folder).unwrap().list().blocks.len(), want.len(), "{row}: kept");
        // An edit that comes behind it lifts it.
        fs::write(file(&scene.folder), "{\"blocks\": []}").unwrap();
        scene.book.keep(&scene.shared).unwrap();
        assert!(scene.in_force().is_empty(), "{row}");
    }
}

#[test]
fn what_could_not_be_kept_is_not_lifted_by_an_edit_either() {
    let scene = Scene::new();
    scene.add(BlockKind::Host, "a.example", 1);
    scene.book.keep(&scene.shared).unwrap();
    let in_its_place = crate::runtime::whole_file::begun(&file(&scene.folder));
    fs::create_dir(&in_its_place).unwrap();
    scene.add(BlockKind::Host, "a.example", 2);
    assert!(matches!(scene.book.keep(&scene.shared), Err(BlocksError::NotKept { .. })));
    fs::write(file(&scene.folder), "{\"blocks\": []}").unwrap();
    fs::remove_dir(&in_its_place).unwrap();
    scene.book.keep(&scene.shared).unwrap();
    assert_eq!(scene.in_force(), ["a.example"]);
    assert!(scene.text().contains("a.example"));
}

#[test]
fn an_id_for_something_else_is_another_block_and_two_with_one_id_are_none() {
    let scene = Scene::new();
    scene.add(BlockKind::Host, "a.example", 1);
    scene.book.keep(&scene.shared).unwrap();
    let mut page: Value = serde_json::from_str(&scene.text()).unwrap();
    let mut copied = page["blocks"][0].clone();
    copied["host"] = "b.example".into();
    page["blocks"].as_array_mut().unwrap().push(copied.clone());
    fs::write(file(&scene.folder), page.to_string()).unwrap();
    let error = scene.book.keep(&scene.shared).unwrap_err().to_string();
    assert!(error.contains("block 2: `id`: block 1 has the same; take it out here"), "{error}");
    assert_eq!(scene.in_force(), ["a.example"], "nothing is lifted");
    fs::write(file(&scene.folder), json!({"blocks": [copied]}).to_string()).unwrap();
    scene.book.keep(&scene.shared).unwrap();
    assert_eq!(scene.in_force(), ["b.example"]);
    let told: Vec<_> = scene.told().into_iter().skip(1).collect();
    let told: Vec<_> = told.iter().map(|detail| (&detail["result"], &detail["block"]["host"])).collect();
    let want =
        [("block_lifted", "a.example"), ("block_added", "b.example")].map(|(word, host)| (word.into(), host.into()));
    assert_eq!(told, want.each_ref().map(|(word, host): &(Value, Value)| (word, host)));
}

#[test]
fn a_hand_adds_so_many_and_no_more() {
    let scene = Scene::new();
    let one = |number: usize| json!({"customer": format!("c{number}"), "reason": "x", "until": "2099-01-01T00:00:00Z"});
    let write = |count: usize| {
        let page = json!({"blocks": (0..count).map(one).collect::<Vec<_>>()});
        fs::write(file(&scene.folder), page.to_string()).unwrap();
        scene.book.keep(&scene.shared).map_err(|error| error.to_string())
    };
    assert!(write(MAX_BLOCKS + 1).unwrap_err().contains("1001 blocks, and there may be 1000; take some out"));
    assert!(open(&scene.folder).is_err());
    assert!(scene.in_force().is_empty());
    scene.add(BlockKind::Host, "a.example", 1);
    assert!(write(MAX_BLOCKS).unwrap_err().contains("1001 blocks"), "with what was asked for meanwhile");
    assert_eq!(scene.in_force(), ["a.example"]);
    assert_eq!(write(MAX_BLOCKS - 1), Ok(()));
    assert_eq!((scene.in_force().len(), open(&scene.folder).is_ok()), (MAX_BLOCKS, true));
}

/// What puts something in the file's place.
type Make = fn(&Path);

#[test]
fn what_is_no_regular_file_is_neither_waited_for_nor_read() {
    let pipe = |path: &Path| {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o640), 0)
            .unwrap();
    };
    let endless = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    let large = |path: &Path| fs::File::create(path).unwrap().set_len(MAX_FILE + 1).unwrap();
    let rows: [(&str, Make, &str); 3] = [
        ("a pipe", pipe, "not a regular file"),
        ("a device", endless, "not a regular file"),
        ("a large file", large, "file too large"),
    ];
    for (row, make, want) in rows {
        let scene = Scene::new();
        make(&file(&scene.folder));
        let error = open(&scene.folder).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("blocks.edge-1.json: ") && error.contains(want), "{row}: {error}");
        scene.add(BlockKind::Host, "a.example", 1);
        assert!(scene.book.keep(&scene.shared).is_err(), "{row}");
        assert_eq!(scene.in_force(), ["a.example"], "{row}");
    }
}

#[test]
fn a_file_that_has_gone_lifts_nothing_and_an_empty_list_all() {
    let scene = Scene::new();
    scene.add(BlockKind::Host, "a.example", 1);
    scene.book.keep(&scene.shared).unwrap();
    fs::remove_file(file(&scene.folder)).unwrap();
    scene.book.keep(&scene.shared).unwrap();
    assert!(scene.text().contains("a.example"), "it is back");
    fs::write(file(&scene.folder), "{\"blocks\": []}").unwrap();
    scene.book.keep(&scene.shared).unwrap();
    assert!(scene.in_force().is_empty());
}

#[test]
fn a_file_that_cannot_be_trusted_starts_nothing_and_lifts_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let good = "{\"blocks\": [{\"host\": \"a.example\", \"reason\": \"x\", \"until\": \"2099-01-01T00:00:00Z\"}]}";
    for (row, text, mode, want) in [
        ("empty", "", 0o640, "not what was written"),
        ("cut", "{\"blocks\": [", 0o640, "not what was written"),
        ("another key", "{\"blocks\": [], \"lift\": []}", 0o640, "unknown field `lift`"),
        ("for everybody", good, 0o666, "chmod o-w"),
        ("a folder", "", 0, "check `state`"),
    ] {
        let scene = Scene::on(tempfile::tempdir().unwrap(), good);
        let path = file(&scene.folder);
        fs::remove_file(&path).unwrap();
        if mode == 0 {
            fs::create_dir(&path).unwrap();
        } else {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let error = open(&scene.folder).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("blocks.edge-1.json: ") && error.contains(want), "{row}: {error}");
        assert!(scene.book.keep(&scene.shared).is_err() && scene.book.keep(&scene.shared).is_err(), "{row}");
        assert_eq!(scene.in_force(), ["a.example"], "{row}");
        if mode == 0 {
            fs::remove_dir(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        scene.book.look(&scene.shared, clock::now());
        assert!(scene.text().contains("a.example"), "{row}: tried again");
        let told = scene.told();
        assert_eq!(told.len(), 1, "{row}: told once: {told:?}");
        assert_eq!(told[0]["what"], "emergency_blocks", "{row}");
    }
}
