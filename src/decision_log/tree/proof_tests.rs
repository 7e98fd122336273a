//! Proofs from the tiles of trees of every shape, and all that must not pass for one.
//! Not here: what others make of them (`decision_log::interop_tests`).

use std::convert::Infallible;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::decision_log::Tree;

/// More leaves than a tile of the second level covers, and tiles at its right edge on all three.
const LARGEST: u64 = 66_000;

fn leaf(number: u64) -> Hash {
    Hash::leaf(&number.to_be_bytes())
}

static STORE: LazyLock<Store> = LazyLock::new(Store::new);

/// The tiles of a tree of [`LARGEST`] leaves, from which those of every smaller one can be cut.
struct Store(BTreeMap<(u8, u64), Tile>);

impl Store {
    fn new() -> Self {
        let (mut tree, mut tiles) = (Tree::new(), Vec::new());
        (0..LARGEST).for_each(|number| tree.push(leaf(number), &mut tiles));
        Self(tiles.into_iter().chain(tree.edge()).map(|tile| ((tile.id.level(), tile.id.index()), tile)).collect())
    }

    fn cut(&self, id: TileId) -> Tile {
        Tile { id, hashes: self.grown(id).hashes[..id.width()].to_vec() }
    }

    fn grown(&self, id: TileId) -> Tile {
        self.0[&(id.level(), id.index())].clone()
    }

    fn root(&self, size: u64) -> Hash {
        Tree::resume(size, Tree::edge_of(size).into_iter().map(|id| self.cut(id)).collect()).unwrap().root()
    }

    fn prove(&self, index: u64, size: u64) -> Vec<Hash> {
        let tile = &mut |id| Ok::<_, Infallible>(self.cut(id));
        inclusion(index, size, tile).unwrap().unwrap()
    }
}

fn is_proof(index: u64, size: u64, leaf: Hash, proof: &[Hash], root: Hash) -> bool {
    root_of(index, size, leaf, proof) == Some(root)
}

#[test]
fn every_leaf_of_every_small_tree_is_proved() {
    let store = &*STORE;
    for size in 1..=68 {
        let root = store.root(size);
        for index in 0..size {
            assert!(is_proof(index, size, leaf(index), &store.prove(index, size), root), "{index} of {size}");
        }
    }
}

#[test]
fn every_edge_of_larger_trees_is_proved() {
    let store = &*STORE;
    for size in [255, 256, 257, 511, 512, 513, 1023, 1500, 65_535, 65_536, 65_537, 65_792, 65_793, LARGEST] {
        let root = store.root(size);
        for index in [0, 1, 254, 255, 256, 257, 511, 512, 65_279, 65_280, 65_535, 65_536, size - 2, size - 1] {
            let proof = (index < size).then(|| store.prove(index, size));
            assert!(proof.is_none_or(|proof| is_proof(index, size, leaf(index), &proof, root)), "{index} of {size}");
        }
    }
}

#[test]
fn no_tile_is_read_twice_or_in_vain() {
    let store = &*STORE;
    for (index, size, want) in [
        (0, 1, vec![]),
        (0, 256, vec!["tile/0/000"]),
        (3, 257, vec!["tile/0/000", "tile/0/001.p/1"]),
        (256, 257, vec!["tile/1/000.p/1"]),
        (0, 65_536, vec!["tile/0/000", "tile/1/000"]),
        // 65,536 + 256 + 208.
        (0, 66_000, vec!["tile/0/000", "tile/1/000", "tile/0/257.p/208", "tile/1/001.p/1"]),
        (65_999, 66_000, vec!["tile/0/257.p/208", "tile/1/001.p/1", "tile/2/000.p/1"]),
    ] {
        let mut read = Vec::new();
        let tile = &mut |id: TileId| {
            read.push(id.to_string());
            Ok::<_, Infallible>(store.cut(id))
        };
        inclusion(index, size, tile).unwrap().unwrap();
        assert_eq!(read, want, "{index} of {size}");
    }
}

#[test]
fn what_there_is_no_proof_for() {
    let store = &*STORE;
    let tile = &mut |id| Ok::<_, Infallible>(store.cut(id));
    for (index, size) in [(0, 0), (1, 1), (300, 300), (u64::MAX, u64::MAX)] {
        assert_eq!(inclusion(index, size, tile), Ok(None), "{index} of {size}");
        assert_eq!(root_of(index, size, Hash::EMPTY, &[]), None, "{index} of {size}");
    }
    assert_eq!(inclusion(0, 300, &mut |id| Err(id.to_string())), Err("tile/0/000".to_owned()));
    let short = &mut |id| Ok::<_, Infallible>(Tile { id, hashes: vec![Hash::EMPTY; 100] });
    assert_eq!(inclusion(100, 300, short), Ok(None));
}

#[test]
fn the_largest_tree_there_can_be_is_no_trouble() {
    let tile = &mut |id: TileId| Ok::<_, Infallible>(Tile { id, hashes: vec![Hash::EMPTY; id.width()] });
    for index in [0, 1, u64::MAX / 2, u64::MAX - 1] {
        let proof = inclusion(index, u64::MAX, tile).unwrap().unwrap();
        assert!(proof.len() <= 64, "{index}: {}", proof.len());
        assert!(root_of(index, u64::MAX, Hash::EMPTY, &proof).is_some(), "{index}");
    }
}

/// Sizes around those at which tiles fill, and any others.
fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 1..1500_u64, 1 => 250..260_u64, 1 => 510..515_u64, 2 => 65_500..LARGEST]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_proof_proves_one_leaf_in_one_place_of_one_tree(size in sizes(), places: [Index; 3], bit: u8) {
        let [index, elsewhere] = [(places[0], size), (places[1], LARGEST.min(2 * size))]
            .map(|(place, below)| place.index(usize::try_from(below).unwrap()) as u64);
        let (root, own, proof) = (STORE.root(size), leaf(index), STORE.prove(index, size));
        prop_assert!(is_proof(index, size, own, &proof, root), "{} of {}", index, size);
        let grown = inclusion(index, size, &mut |id| Ok::<_, Infallible>(STORE.grown(id)));
        prop_assert_eq!(grown.unwrap().unwrap(), proof.clone(), "tiles that have grown give the same");

        if elsewhere != index {
            prop_assert!(!is_proof(elsewhere, size, own, &proof, root), "another place");
            prop_assert!(!is_proof(index, size, leaf(elsewhere), &proof, root), "another leaf");
        }
        let other = elsewhere + 1;
        prop_assert!(other == size || !is_proof(index, other, own, &proof, STORE.root(other)), "another size");
        prop_assert_eq!(root_of(index, size, own, &[&proof[..], &[own]].concat()), None, "one more");
        if !proof.is_empty() {
            let place = places[2].index(proof.len());
            let mut fewer = proof.clone();
            fewer.remove(place);
            prop_assert_eq!(root_of(index, size, own, &fewer), None, "one less");
            let mut bytes = *proof[place].as_bytes();
            bytes[usize::from(bit / 8)] ^= 1 << (bit % 8);
            let mut changed = proof.clone();
            changed[place] = Hash::from_bytes(bytes);
            prop_assert!(!is_proof(index, size, own, &changed, root), "another hash");
        }
    }
}
