//! The chat template of a GGUF file, as tokens with two gaps.

use llama_cpp_2::{
    model::{LlamaChatMessage, LlamaModel},
    token::LlamaToken,
};
use ragstone_core::{Error, Prompt, Result};

/// Stand for the two texts while the template is rendered.
const SYSTEM: &str = "52c1d9f0system0f9d1c25";
const USER: &str = "e84a6b37user73b6a48e";

/// What the template puts around the texts of the two roles.
///
/// It is rendered once, when the model is loaded. Its marks of roles become tokens there and nowhere else: the texts of
/// a request are read as plain text, so that a passage that spells out such a mark cannot end its role.
pub(super) struct Template {
    before: Vec<LlamaToken>,
    between: Vec<LlamaToken>,
    after: Vec<LlamaToken>,
}

impl Template {
    /// # Errors
    /// `Unavailable` when the model has no template, or one that cannot be used.
    pub(super) fn of(model: &LlamaModel) -> Result<Self> {
        let rendered = render(model)?;
        let parts = rendered.split_once(SYSTEM).and_then(|(before, rest)| {
            let (between, after) = rest.split_once(USER)?;
            Some((before, between, after))
        });
        let Some((before, between, after)) = parts else {
            return Err(unusable("it has no place for a system and a user message, in this order"));
        };
        let vocab = model.vocab();
        let marks = |text: &str| vocab.tokenize(text.as_bytes(), false, true);
        let mut before = marks(before);
        if vocab.should_add_bos() && before.first() != Some(&vocab.bos()) {
            before.insert(0, vocab.bos());
        }
        Ok(Self { before, between: marks(between), after: marks(after) })
    }

    /// The tokens of `prompt`.
    pub(super) fn fill(&self, model: &LlamaModel, prompt: &Prompt) -> Vec<LlamaToken> {
        let vocab = model.vocab();
        let mut tokens = self.before.clone();
        vocab.tokenize_into(prompt.system.as_bytes(), &mut tokens, false, false);
        tokens.extend_from_slice(&self.between);
        vocab.tokenize_into(prompt.user.as_bytes(), &mut tokens, false, false);
        tokens.extend_from_slice(&self.after);
        tokens
    }
}

fn render(model: &LlamaModel) -> Result<String> {
    let template = model.chat_template(None).map_err(|error| unusable(&error.to_string()))?;
    let message = |role: &str, text: &str| {
        LlamaChatMessage::new(role.to_owned(), text.to_owned()).map_err(|error| unusable(&error.to_string()))
    };
    let chat = [message("system", SYSTEM)?, message("user", USER)?];
    model.apply_chat_template(&template, &chat, true).map_err(|error| unusable(&error.to_string()))
}

fn unusable(reason: &str) -> Error {
    Error::unavailable(format!("the model's chat template cannot be used: {reason}"))
}
