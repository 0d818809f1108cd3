//! Which ideas together, and how near to each other, make a text suspicious.

use super::Reason;
use super::lexicon::Concept::{self, *};

/// Ideas that must stand near each other.
pub(super) struct Rule {
    /// One of each group.
    pub(super) needs: &'static [&'static [Concept]],
    /// The most characters from the first to the last.
    pub(super) span: usize,
    /// Whether they may stand in different sentences.
    pub(super) across: bool,
    /// Whether a negation before it takes it back ("never send …").
    pub(super) negatable: bool,
    /// How much it says, 0 to 1.
    pub(super) weight: f32,
    /// What it is.
    pub(super) reason: Reason,
}

const fn rule(reason: Reason, weight: f32, span: usize, needs: &'static [&'static [Concept]]) -> Rule {
    Rule { needs, span, across: false, negatable: false, weight, reason }
}

impl Rule {
    const fn across(mut self) -> Self {
        self.across = true;
        self
    }

    const fn negatable(mut self) -> Self {
        self.negatable = true;
        self
    }
}

/// All rules. Weights were set on the tests' attacks and on ordinary questions and paragraphs: what alone is enough to
/// be flagged has 0.5 and more.
pub(super) const RULES: &[Rule] = &[
    rule(Reason::Override, 0.8, 90, &[&[Ignore], &[Prior], &[Instr]]),
    rule(Reason::Override, 0.6, 70, &[&[Ignore], &[Own], &[Instr]]),
    rule(Reason::Override, 0.5, 40, &[&[Ignore], &[All], &[Instr]]),
    rule(Reason::Override, 0.65, 90, &[&[Ignore], &[All, Prior, Own], &[Told]]),
    rule(Reason::Override, 0.6, 160, &[&[Ignore], &[NewTask]]).across(),
    rule(Reason::Override, 0.6, 160, &[&[Ignore], &[OnlyMe]]).across(),
    rule(Reason::Override, 0.6, 160, &[&[Invalid], &[Instr], &[OnlyMe, NewTask]]).across(),
    rule(Reason::Override, 0.55, 60, &[&[Invalid], &[Own], &[Instr]]),
    rule(Reason::Override, 0.35, 60, &[&[Invalid], &[Instr], &[Prior]]),
    rule(Reason::Override, 0.25, 60, &[&[NewTask]]),
    rule(Reason::Override, 0.25, 60, &[&[OnlyMe]]),
    rule(Reason::RolePlay, 0.7, 160, &[&[Act], &[NoLimits]]).across(),
    rule(Reason::RolePlay, 0.6, 160, &[&[Act], &[Jailbreak]]).across(),
    rule(Reason::RolePlay, 0.6, 60, &[&[AnythingNow]]),
    rule(Reason::RolePlay, 0.55, 120, &[&[Ai], &[NoLimits]]),
    rule(Reason::RolePlay, 0.2, 60, &[&[Jailbreak]]),
    rule(Reason::RolePlay, 0.15, 60, &[&[Act], &[Ai]]),
    rule(Reason::PromptExtraction, 0.6, 100, &[&[Ask], &[SystemPrompt]]),
    rule(Reason::PromptExtraction, 0.5, 60, &[&[Ask], &[AboveText], &[Prior, Own]]),
    rule(Reason::PromptExtraction, 0.35, 60, &[&[Ask], &[Own], &[Instr]]),
    rule(Reason::Exfiltration, 0.65, 200, &[&[Send], &[Data], &[Link]]).negatable(),
    rule(Reason::AddressedToModel, 0.6, 160, &[&[Ai], &[Reading], &[Must]]),
    rule(Reason::AddressedToModel, 0.55, 80, &[&[IfAi]]),
    rule(Reason::AddressedToModel, 0.4, 60, &[&[Hide]]),
    rule(Reason::EncodedPayload, 0.3, 120, &[&[Decode], &[Obey]]),
];
