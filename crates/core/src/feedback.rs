//! What people think of answers.

/// A rating of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rating {
    /// Good.
    Up,
    /// Bad.
    Down,
}

impl Rating {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Up, Self::Down];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// The rating with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rating| rating.as_str() == name)
    }
}

/// A rating with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// The answer's id.
    pub query_id: String,
    /// The rating.
    pub rating: Rating,
    /// Why, at most 2,000 characters.
    pub comment: String,
}

/// How many ratings there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedbackCounts {
    /// Good ones.
    pub up: u64,
    /// Bad ones.
    pub down: u64,
}
