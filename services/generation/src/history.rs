//! What was said before a question, as much of it as counts.

use ragstone_core::{Error, Result};
use ragstone_proto::v1;

/// A rough number of bytes in a token.
const TOKEN_BYTES: usize = 4;
/// Stands for what was cut off.
const CUT: &str = " …";

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The person who asks.
    User,
    /// Who answered.
    Assistant,
}

impl Role {
    /// The role's name in prompts.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// Something said earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// By whom.
    pub(crate) role: Role,
    /// What.
    pub(crate) text: String,
}

/// How much of a conversation counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// The most turns.
    pub(crate) turns: usize,
    /// The most tokens in all, a token for four bytes.
    pub(crate) tokens: usize,
}

/// The newest turns that the budget holds, oldest first. A turn that does not fit whole is left out with all before it;
/// the newest one is cut instead.
///
/// # Errors
/// `InvalidArgument` for a turn that nobody said.
pub(crate) fn recent(turns: Vec<v1::Turn>, budget: Budget) -> Result<Vec<Turn>> {
    let turns = turns.into_iter().map(turn).collect::<Result<Vec<_>>>()?;
    let mut bytes = budget.tokens.saturating_mul(TOKEN_BYTES);
    let mut kept = Vec::new();
    for mut turn in turns.into_iter().rev().filter(|turn| !turn.text.trim().is_empty()).take(budget.turns) {
        if turn.text.len() > bytes {
            if !kept.is_empty() || bytes == 0 {
                break;
            }
            let start = &turn.text[..turn.text.floor_char_boundary(bytes)];
            turn.text = format!("{}{CUT}", start.trim_end());
        }
        bytes = bytes.saturating_sub(turn.text.len());
        kept.push(turn);
    }
    kept.reverse();
    Ok(kept)
}

fn turn(turn: v1::Turn) -> Result<Turn> {
    let role = match turn.role() {
        v1::TurnRole::User => Role::User,
        v1::TurnRole::Assistant => Role::Assistant,
        v1::TurnRole::Unspecified => return Err(Error::invalid("field 'history' has a turn without a known role")),
    };
    Ok(Turn { role, text: turn.text })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use ragstone_core::ErrorCode;

    fn said(texts: &[&str], turns: usize, tokens: usize) -> Vec<String> {
        let turn = |text: &&str| v1::Turn { role: v1::TurnRole::User.into(), text: (*text).to_owned() };
        let kept = recent(texts.iter().map(turn).collect(), Budget { turns, tokens }).unwrap();
        kept.into_iter().map(|turn| turn.text).collect()
    }

    #[test]
    fn the_newest_turns_stay_in_order() {
        let all = ["one.", "two.", "  ", "three..."];
        assert_eq!(said(&all, 9, 100), ["one.", "two.", "three..."]);
        assert_eq!(said(&all, 2, 100), ["two.", "three..."]);
        assert_eq!(said(&all, 9, 3), ["two.", "three..."]);
        assert_eq!(said(&["x", "a long turn", "y"], 9, 2), ["y"], "nothing older than what was left out");
        assert_eq!(said(&all, 0, 100), [""; 0]);
        assert_eq!(said(&all, 9, 0), [""; 0]);
    }

    #[test]
    fn a_newest_turn_that_is_too_long_is_cut() {
        assert_eq!(said(&["old", "Grüße an alle"], 9, 1), ["Grü …"]);
        assert_eq!(said(&["old", "Grüße an alle"], 9, 2), ["Grüße …"]);
    }

    #[test]
    fn nobody_speaks_as_the_system() {
        for role in [0, 3, -1] {
            let turn = v1::Turn { role, text: "x".into() };
            let refused = recent(vec![turn], Budget { turns: 9, tokens: 100 }).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidArgument);
        }
    }
}
