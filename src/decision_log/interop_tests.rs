//! Notes, checkpoints, tiles and proofs of ours under the verifiers of others, and theirs under ours.
//! Not here: what each of them refuses (beside each module). Source: the crates `signed_note`, `tlog_tiles`, `ct-merkle`.

use std::convert::Infallible;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update, consts::U32};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{InclusionProof, RootHash};
use proptest::prelude::*;
use proptest::sample::Index;
use signed_note::{Signer, StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles::{HashReader, TileHashReader, TileReader};

use super::*;

const ORIGIN: &str = "sallyport/edge-1";

fn key(secret: u8) -> (SigningKey, VerifierKey) {
    known_key(secret, ORIGIN)
}

fn record(seq: u64) -> Vec<u8> {
    format!(r#"{{"v":1,"seq":{seq},"kind":"decision"}}"#).into_bytes()
}

/// A log of `size` records: its root and its tiles.
struct Grown {
    size: u64,
    root: Hash,
    tiles: Vec<Tile>,
}

impl Grown {
    fn new(size: u64) -> Self {
        let (mut tree, mut tiles) = (Tree::new(), Vec::new());
        (0..size).for_each(|seq| tree.push(Hash::leaf(&record(seq)), &mut tiles));
        tiles.extend(tree.edge());
        Self { size, root: tree.root(), tiles }
    }

    fn tile(&self, id: TileId) -> &Tile {
        self.tiles.iter().find(|tile| tile.id == id).unwrap()
    }

    fn prove(&self, index: u64) -> Vec<Hash> {
        inclusion(index, self.size, &mut |id| Ok::<_, Infallible>(self.tile(id).clone())).unwrap().unwrap()
    }
}

#[test]
fn another_verifier_accepts_our_checkpoint() {
    let (secret, verifier) = key(1);
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 300, root: Grown::new(300).root };
    let note = checkpoint.sign(&secret, &verifier);
    let theirs = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let known = StandardVerifier::new(&verifier.to_string()).unwrap();
    let (verified, others) = theirs.verify(&VerifierList::new(vec![Box::new(known)])).unwrap();
    assert_eq!((verified.len(), others.len()), (1, 0));
    let read = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
    assert_eq!((read.origin(), read.size(), read.extension()), (ORIGIN, 300, ""));
    assert_eq!(read.hash().0, *checkpoint.root.as_bytes());
    let other = StandardVerifier::new(&key(2).1.to_string()).unwrap();
    assert!(theirs.verify(&VerifierList::new(vec![Box::new(other)])).is_err());
}

#[test]
fn a_checkpoint_that_another_signs_opens_here() {
    let verifier = key(1).1;
    let typed = [&[1][..], &[1; 32]].concat();
    let secret = format!("PRIVATE+KEY+{ORIGIN}+{:08x}+{}", verifier.id(), STANDARD.encode(typed));
    let signer = StandardSigner::new(&secret).unwrap();
    let root = Grown::new(7).root;
    let text = tlog_tiles::Checkpoint::new(ORIGIN, 7, tlog_tiles::Hash(*root.as_bytes()), "").unwrap().to_bytes();
    let mut note = signed_note::Note::new(&text, &[]).unwrap();
    note.add_sigs(&[&signer as &dyn Signer]).unwrap();
    let note = String::from_utf8(note.to_bytes()).unwrap();
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 7, root };
    assert_eq!(Checkpoint::open(&note, std::slice::from_ref(&verifier)), Ok(checkpoint.clone()));
    assert_eq!(checkpoint.sign(&key(1).0, &verifier), note, "Ed25519 is deterministic");
}

impl TileReader for Grown {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &tlog_tiles::Tile| {
            // Their paths name the height too.
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            self.tile(path.parse().unwrap()).bytes()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 1..1500_u64, 2 => 254..260_u64, 1 => 65_530..65_800_u64]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn another_reader_of_tiles_agrees(size in sizes(), at: Index) {
        let grown = Grown::new(size);
        let (index, root) = (at.index(usize::try_from(size).unwrap()) as u64, tlog_tiles::Hash(*grown.root.as_bytes()));
        // This reader checks each tile against the root.
        let reader = TileHashReader::new(size, root, &grown);
        prop_assert!(tlog_tiles::tree_hash(size, &reader).unwrap() == root);
        let leaf = reader.read_hashes(&[tlog_tiles::stored_hash_index(0, index)]).unwrap();
        prop_assert_eq!(leaf[0].0, *Hash::leaf(&record(index)).as_bytes());

        let theirs = tlog_tiles::prove_record(size, index, &reader).unwrap();
        let theirs: Vec<Hash> = theirs.iter().map(|hash| Hash::from_bytes(hash.0)).collect();
        let ours = grown.prove(index);
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(root_of(index, size, Hash::leaf(&record(index)), &theirs), Some(grown.root));
        let proof = ours.iter().map(|hash| tlog_tiles::Hash(*hash.as_bytes())).collect();
        let leaf = tlog_tiles::record_hash(&record(index));
        prop_assert!(tlog_tiles::check_record(&proof, size, root, index, leaf).is_ok());
    }

    #[test]
    fn another_tree_agrees(size in 1..1500_u64, at: Index) {
        let grown = Grown::new(size);
        let index = at.index(usize::try_from(size).unwrap());
        let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        (0..size).for_each(|seq| tree.push(record(seq)));
        let theirs = tree.root();
        prop_assert_eq!(theirs.as_bytes().as_slice(), grown.root.as_bytes());

        let ours = grown.prove(index as u64).iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>();
        let theirs = tree.prove_inclusion(index);
        prop_assert_eq!(theirs.as_bytes(), &ours);
        let root = RootHash::<Sha256>::new(Output::<Sha256>::from(*grown.root.as_bytes()), size);
        let proof = InclusionProof::from_bytes(ours);
        prop_assert!(root.verify_inclusion(&record(index as u64), index as u64, &proof).is_ok());
        prop_assert!(root.verify_inclusion(&record(size), index as u64, &proof).is_err());
    }
}

/// SHA-256 as `ct-merkle` takes it.
struct Sha256(Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl OutputSizeUser for Sha256 {
    type OutputSize = U32;
}

impl HashMarker for Sha256 {}

impl Update for Sha256 {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
}

impl FixedOutput for Sha256 {
    fn finalize_into(self, out: &mut Output<Self>) {
        out.copy_from_slice(self.0.finish().as_ref());
    }
}
