//! Which shard a document lives on: rendezvous hashing.
//!
//! Every shard gets a pseudo-random weight for the document and the heaviest wins (Thaler and Ravishankar, 1998). A new
//! shard takes over just the documents it is heaviest for, about one in n; none moves between the old ones.

/// The one of `shards` that holds every chunk of this document; `None` only when there are none.
#[must_use]
pub fn place<'a, S: AsRef<str>>(shards: &'a [S], tenant: &str, document: &str) -> Option<&'a str> {
    let weight = |shard: &str| {
        let mut hasher = blake3::Hasher::new();
        // Length-prefixed, so that ("a", "bc") and ("ab", "c") differ.
        for part in [tenant, document, shard] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        *hasher.finalize().as_bytes()
    };
    shards.iter().map(AsRef::as_ref).max_by_key(|shard| weight(shard))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    /// The number of the shard a document is placed on.
    fn place(shards: &[String], tenant: &str, document: &str) -> usize {
        super::place(shards, tenant, document).unwrap()[1..].parse().unwrap()
    }

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("s{i}")).collect()
    }

    proptest! {
        #[test]
        fn a_new_shard_takes_documents_but_old_ones_swap_none(
            tenant in "[a-z]{1,5}", document in ".{1,12}", n in 1_usize..12,
        ) {
            let before = place(&names(n), &tenant, &document);
            let after = place(&names(n + 1), &tenant, &document);
            prop_assert!(after == before || after == n);
        }

        #[test]
        fn the_order_of_names_does_not_matter(document in ".{1,12}", n in 2_usize..8) {
            let forward = names(n);
            let backward: Vec<_> = forward.iter().rev().cloned().collect();
            prop_assert_eq!(place(&forward, "t", &document), place(&backward, "t", &document));
        }
    }

    #[test]
    fn shares_are_even_and_one_in_n_moves() {
        let documents: Vec<String> = (0..10_000).map(|i| format!("doc-{i}")).collect();
        let mut counts = [0_usize; 4];
        let mut moved = 0;
        for document in &documents {
            let now = place(&names(4), "t", document);
            counts[now] += 1;
            moved += usize::from(place(&names(5), "t", document) != now);
        }
        assert!(counts.iter().all(|&c| (2300..2700).contains(&c)), "{counts:?}");
        assert!((1800..2200).contains(&moved), "{moved}");
    }

    #[test]
    fn placement_never_changes_between_releases() {
        let placed: Vec<usize> = ["a", "handbuch/Größe", "z"].iter().map(|d| place(&names(7), "t", d)).collect();
        assert_eq!(placed, PINNED);
    }

    const PINNED: [usize; 3] = [5, 6, 0];
}
