//! Which of the waiting texts run together.

/// How much padding a batch may have, as a part of its longest text: running texts together saves about this much
/// (measured: docs/models.md), so more padding would cost more than it gains.
const PADDING: usize = 16;

/// Chooses the next batch from texts with these token counts, the longest waiting first; returns their indices in
/// ascending order.
///
/// The text at index 0 is always in it, so nothing waits for ever. Others join in order of how near their length is,
/// while the padded batch fits `budget` and no text is padded by more than a sixteenth of the longest plus one token.
pub(super) fn plan(lengths: &[usize], budget: usize) -> Vec<usize> {
    let Some((&anchor, rest)) = lengths.split_first() else { return Vec::new() };
    let mut candidates: Vec<(usize, usize)> = rest.iter().copied().zip(1..).map(|(length, i)| (i, length)).collect();
    candidates.sort_by_key(|&(index, length)| (length.abs_diff(anchor), index));
    let (mut longest, mut shortest) = (anchor, anchor);
    let mut chosen = vec![0];
    for (index, length) in candidates {
        let (new_longest, new_shortest) = (longest.max(length), shortest.min(length));
        let fits = new_longest * (chosen.len() + 1) <= budget;
        if !fits || new_longest - new_shortest > new_longest / PADDING + 1 {
            break;
        }
        (longest, shortest) = (new_longest, new_shortest);
        chosen.push(index);
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn near_lengths_share_a_batch_and_others_do_not() {
        assert_eq!(plan(&[10, 250, 13, 11, 10, 249], 1000), [0, 3, 4]);
        assert_eq!(plan(&[250, 10, 240, 270], 1000), [0, 2]);
        assert_eq!(plan(&[250, 250, 250], 600), [0, 1]);
        assert_eq!(plan(&[700], 600), [0]);
        assert_eq!(plan(&[], 600), [0; 0]);
    }

    proptest! {
        #[test]
        fn a_batch_holds_the_oldest_keeps_the_budget_and_pads_little(
            lengths in prop::collection::vec(1_usize..256, 1..200), budget in 1_usize..2000,
        ) {
            let chosen = plan(&lengths, budget);
            prop_assert_eq!(chosen[0], 0);
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            let of = |index: &usize| lengths[*index];
            let (longest, shortest) = (chosen.iter().map(of).max(), chosen.iter().map(of).min());
            let (longest, shortest) = (longest.unwrap_or(0), shortest.unwrap_or(0));
            prop_assert!(chosen.len() == 1 || longest * chosen.len() <= budget);
            prop_assert!(longest - shortest <= longest / PADDING + 1);
        }
    }
}
