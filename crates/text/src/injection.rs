//! How much a text looks like an attempt to give orders to a language model: a signal, not a wall.
//!
//! Attackers find other words; ordinary texts about the subject use these. So the score is for policies, metrics and
//! filters, and whatever a model is given stays apart from its orders in any case. Time is linear in the text's length; the
//! tables take some megabytes, once per process. The text is read as it came, invisible characters included: cleaned text
//! has lost what they say.

mod decode;
mod lexicon;
mod markup;
mod rules;
mod view;

use serde::{Deserialize, Serialize};

use lexicon::{Concept, Mention};
use rules::{RULES, Rule};
use view::View;

/// What a quotation that the text speaks *about*, or an order that it asks about, still weighs.
const QUOTED: f32 = 0.4;
/// How far from a quotation the words stand that speak about it, in characters.
const NEIGHBOURHOOD: usize = 160;
/// What hidden or encoded text weighs when it says something suspicious.
const HIDDEN: f32 = 0.5;
/// From which score on a hidden text is suspicious.
const SUSPICIOUS: f32 = 0.25;

/// What makes a text suspicious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It tells to ignore earlier orders or gives new ones.
    Override,
    /// It gives the model another character, without limits.
    RolePlay,
    /// It asks for the model's own orders.
    PromptExtraction,
    /// It would have data sent away, by an image's address or to a link.
    Exfiltration,
    /// It imitates the marks that divide a model's roles.
    RoleForging,
    /// It hides such text in an encoding or in invisible characters.
    EncodedPayload,
    /// It speaks to the model that reads it instead of to people.
    AddressedToModel,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Override,
        Self::RolePlay,
        Self::PromptExtraction,
        Self::Exfiltration,
        Self::RoleForging,
        Self::EncodedPayload,
        Self::AddressedToModel,
    ];

    /// Its name in metrics and traces.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::RolePlay => "role_play",
            Self::PromptExtraction => "prompt_extraction",
            Self::Exfiltration => "exfiltration",
            Self::RoleForging => "role_forging",
            Self::EncodedPayload => "encoded_payload",
            Self::AddressedToModel => "addressed_to_model",
        }
    }
}

/// What [`score`] found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// 0 (nothing found) to 1; from 0.5 on a text should be flagged.
    pub score: f32,
    /// Why, in a fixed order; empty when the score is 0.
    pub reasons: Vec<Reason>,
}

/// How suspicious `text` is. The same text always has the same score.
#[must_use]
pub fn score(text: &str) -> Verdict {
    let mut weights = Weights::default();
    weights.read(text);
    let hidden = [decode::encoded(text), decode::tagged(text)];
    for hidden in hidden.into_iter().flatten() {
        let mut inner = Weights::default();
        inner.read(&hidden);
        weights.add_hidden(&inner);
    }
    weights.verdict()
}

/// The strongest sign of each reason: several of one kind are often the same words seen twice.
#[derive(Debug, Default)]
struct Weights([f32; Reason::ALL.len()]);

impl Weights {
    fn add(&mut self, reason: Reason, weight: f32) {
        let known = &mut self.0[reason as usize];
        *known = known.max(weight);
    }

    fn read(&mut self, text: &str) {
        self.add(Reason::RoleForging, markup::forged_roles(text));
        self.add(Reason::Exfiltration, markup::leaking_images(text));
        let view = View::of(text);
        self.apply(&view);
        for view in [View::of_leet(text), View::of_spaced_out(text)].into_iter().flatten() {
            self.apply(&view);
        }
        for turned in view.turned().into_iter().flatten() {
            let mut inner = Self::default();
            inner.apply(&turned);
            self.add_hidden(&inner);
        }
    }

    /// Text that was found only by decoding: that it was hidden says more.
    fn add_hidden(&mut self, inner: &Self) {
        if inner.total() >= SUSPICIOUS {
            Reason::ALL.into_iter().for_each(|reason| self.add(reason, inner.0[reason as usize]));
            self.add(Reason::EncodedPayload, HIDDEN);
        }
    }

    fn apply(&mut self, view: &View) {
        let mentions = lexicon::mentions(view);
        let mut last: [Option<Mention>; Concept::COUNT] = [None; Concept::COUNT];
        for mention in &mentions {
            last[mention.concept as usize] = Some(*mention);
            for rule in RULES.iter().filter(|rule| rule.needs.iter().any(|group| group.contains(&mention.concept))) {
                if rule.weight > self.0[rule.reason as usize]
                    && let Some(span) = together(rule, mention, &last)
                {
                    self.add(rule.reason, rule.weight * believed(rule, &span, view, &mentions));
                }
            }
        }
    }

    fn total(&self) -> f32 {
        1.0 - self.0.iter().map(|weight| 1.0 - weight).product::<f32>()
    }

    fn verdict(&self) -> Verdict {
        let reasons = Reason::ALL.into_iter().filter(|reason| self.0[*reason as usize] > 0.0).collect();
        Verdict { score: self.total(), reasons }
    }
}

/// From the first to the last word of a rule's ideas, in bytes and in characters.
struct Span {
    from: usize,
    to: usize,
    start: usize,
    end: usize,
}

/// The span of the rule's ideas that ends with `latest`, when they are near enough to each other.
fn together(rule: &Rule, latest: &Mention, last: &[Option<Mention>; Concept::COUNT]) -> Option<Span> {
    let mut span = Span { from: latest.from, to: latest.to, start: latest.start, end: latest.end };
    let mut leader = None;
    for group in rule.needs {
        let fits = |mention: &Mention| {
            (rule.across || mention.sentence == latest.sentence)
                && latest.end <= mention.start.saturating_add(rule.span)
        };
        let found =
            group.iter().filter_map(|concept| last[*concept as usize]).filter(fits).max_by_key(|found| found.end)?;
        span.from = span.from.min(found.from);
        span.start = span.start.min(found.start);
        leader = leader.or(found.leads.then_some(found.start));
    }
    leader.is_none_or(|start| start == span.start).then_some(span)
}

/// Which share of the rule's weight counts: less where the words are quoted and spoken about, none where a negation
/// takes them back.
fn believed(rule: &Rule, span: &Span, view: &View, mentions: &[Mention]) -> f32 {
    let around = {
        let first = mentions.partition_point(|m| m.end + NEIGHBOURHOOD < span.start);
        let last = mentions.partition_point(|m| m.end <= span.end + NEIGHBOURHOOD);
        &mentions[first.min(last)..last]
    };
    let negates = |m: &Mention| m.concept == Concept::Negation && m.end <= span.start + 1 && span.start < m.end + 30;
    if rule.negatable && around.iter().any(negates) {
        return 0.0;
    }
    // Somebody who asks how to do it does not tell the model to.
    let asks = |m: &Mention| m.concept == Concept::HowTo && m.start <= span.start && span.start < m.end + 30;
    if rule.reason == Reason::Override && around.iter().any(asks) {
        return QUOTED;
    }
    let quote = view.quotes.get(view.quotes.partition_point(|quote| quote.end + 1 < span.to));
    let quoted = quote.is_some_and(|quote| quote.start <= span.from && span.to <= quote.end + 1);
    let speaks_about = |m: &Mention| m.concept == Concept::Meta && (m.to <= span.from + 1 || span.to <= m.from + 1);
    if quoted && around.iter().any(speaks_about) { QUOTED } else { 1.0 }
}
