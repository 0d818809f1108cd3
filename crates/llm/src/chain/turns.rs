//! Whose turn it is: the models in order, those at their limit once more when the others have failed, then the stand-in.

use std::sync::Arc;
use std::time::Duration;

use ragstone_core::Degraded;
use tokio::time::Instant;

use super::link::Link;

/// The order of one answer's models.
pub(super) struct Turns {
    links: Arc<[Link]>,
    next: usize,
    /// Models that were at their limit, and when they may be asked.
    waiting: Vec<(usize, Instant)>,
    /// Models that did not answer, since the last one that did, and the code for it.
    missed: Vec<(usize, Degraded)>,
}

/// The model to ask next.
pub(super) struct Turn {
    place: usize,
    pub(super) link: Link,
    /// How long to wait before.
    pub(super) wait: Duration,
}

impl Turns {
    pub(super) fn new(links: Arc<[Link]>) -> Self {
        Self { links, next: 0, waiting: Vec::new(), missed: Vec::new() }
    }

    /// The next model; one that is at its limit only when no other is left and the wait is not longer than `patience`.
    pub(super) fn next(&mut self, patience: Duration) -> Option<Turn> {
        let in_order = self.links.get(self.next).cloned();
        let others_left = in_order.as_ref().is_some_and(|link| !link.stand_in);
        if !others_left && let Some(turn) = self.waited(patience) {
            return Some(turn);
        }
        let place = self.next;
        self.next += 1;
        in_order.map(|link| Turn { place, link, wait: Duration::ZERO })
    }

    fn waited(&mut self, patience: Duration) -> Option<Turn> {
        let (index, &(place, at)) = self.waiting.iter().enumerate().min_by_key(|(_, (_, at))| *at)?;
        let wait = at.saturating_duration_since(Instant::now());
        if wait > patience {
            return None;
        }
        self.waiting.remove(index);
        let link = self.links.get(place)?.clone();
        Some(Turn { place, link, wait })
    }

    /// Whether any model is left.
    pub(super) fn any_left(&self) -> bool {
        self.next < self.links.len() || !self.waiting.is_empty()
    }

    /// The model was at its limit, for so long.
    pub(super) fn limited(&mut self, turn: &Turn, wait: Duration) {
        self.waiting.push((turn.place, Instant::now() + wait));
        self.missed.push((turn.place, Degraded::LlmThrottled));
    }

    /// The model failed.
    pub(super) fn failed(&mut self, turn: &Turn, code: Degraded) {
        self.missed.push((turn.place, code));
    }

    /// The model began to answer: why none that is preferred to it did. The stand-in's answers are marked otherwise.
    pub(super) fn began(&mut self, turn: &Turn) -> Vec<Degraded> {
        let missed = std::mem::take(&mut self.missed);
        let mut codes = Vec::new();
        for (place, code) in missed {
            if place < turn.place && !turn.link.stand_in && !codes.contains(&code) {
                codes.push(code);
            }
        }
        codes
    }
}
