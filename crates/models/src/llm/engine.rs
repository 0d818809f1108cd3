//! llama.cpp: the weights, and the state of one answer over them.

use std::{num::NonZeroU32, path::Path, sync::OnceLock};

use llama_cpp_2::{
    LlamaCppError, LogOptions,
    context::{LlamaContext, params::LlamaContextParams},
    llama_backend::LlamaBackend,
    llama_batch::LlamaBatch,
    model::{LlamaModel, params::LlamaModelParams},
    sampling::LlamaSampler,
    send_logs_to_tracing,
    token::LlamaToken,
};
use ragstone_core::{Error, Prompt, Result};

use super::{config::LocalChatConfig, log::listen, template::Template};

/// How many tokens of a prompt are read at once. Between two such steps, about 100 ms on one processor, a caller that has
/// left is noticed.
pub(super) const READ_AT_ONCE: usize = 16;
/// llama.cpp's number for "no flash attention": with steps this small it takes half as long again to read a long prompt.
const NO_FLASH_ATTENTION: i32 = 0;
/// The context where the configuration does not say, if the model was trained for as much.
const DEFAULT_CONTEXT: u32 = 8192;
/// At a temperature above 0 the least likely tokens that make up the rest of the probability are not drawn.
const TOP_P: f32 = 0.95;

/// What answers one request at a time; llama.cpp, or a stand-in in tests.
pub(super) trait Engine {
    /// Forgets the last answer; the next one is drawn with `temperature`.
    fn start(&mut self, temperature: f32) -> Result<()>;

    /// Reads at most [`READ_AT_ONCE`] tokens; after the `last` ones of a prompt a token can be drawn.
    fn read(&mut self, tokens: &[LlamaToken], last: bool) -> Result<()>;

    /// Draws a token; `None` is the end of the answer.
    fn draw(&mut self) -> Option<LlamaToken>;

    /// The bytes that a token stands for, perhaps parts of a character.
    fn bytes(&self, token: LlamaToken) -> Vec<u8>;
}

/// The weights of a model with its vocabulary and chat template; shared by all threads.
pub(super) struct Weights {
    model: LlamaModel,
    template: Template,
    context_tokens: u32,
    threads: i32,
    seed: u32,
}

impl Weights {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// `Unavailable` when it is no usable chat model, with what llama.cpp said; `InvalidArgument` when the configured
    /// context is too large for it.
    pub(super) fn load(path: &Path, config: &LocalChatConfig) -> Result<Self> {
        check_processor()?;
        // Not mapped into memory: a file that is cut short by somebody would then kill the process.
        let params = LlamaModelParams::default().with_use_mmap(false).with_n_gpu_layers(0);
        let backend = backend()?;
        let (loaded, said) = listen(|| LlamaModel::load_from_file(backend, path, &params));
        let model = loaded.map_err(|error| {
            let reason = format!("{error}: {said}");
            Error::unavailable(format!("{} cannot be loaded as a GGUF model", path.display())).with_source(reason)
        })?;
        let trained = model.n_ctx_train();
        let context_tokens = match config.context_tokens {
            0 => trained.min(DEFAULT_CONTEXT),
            wanted if wanted > trained => {
                let problem = format!("context_tokens is {wanted}, but the model reads at most {trained}");
                return Err(Error::invalid(problem));
            }
            wanted => wanted,
        };
        let template = Template::of(&model)?;
        let threads = i32::try_from(config.threads()).unwrap_or(i32::MAX);
        Ok(Self { model, template, context_tokens, threads, seed: config.seed })
    }

    /// The most tokens of prompt and answer together.
    pub(super) fn context_tokens(&self) -> usize {
        self.context_tokens as usize
    }

    /// A prompt's tokens, template and all.
    pub(super) fn tokens(&self, prompt: &Prompt) -> Vec<LlamaToken> {
        self.template.fill(&self.model, prompt)
    }

    /// The state of an answer, its memory taken. Not from two threads at once.
    pub(super) fn engine(&self) -> Result<Llama<'_>> {
        let at_once = READ_AT_ONCE as u32;
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(self.context_tokens))
            .with_n_batch(at_once)
            .with_n_ubatch(at_once)
            .with_flash_attention_policy(NO_FLASH_ATTENTION)
            .with_n_threads(self.threads)
            .with_n_threads_batch(self.threads);
        let backend = backend()?;
        let (context, said) = listen(|| self.model.new_context(backend, params));
        let context = context.map_err(|error| {
            let tokens = self.context_tokens;
            Error::unavailable(format!("there is no room for a context of {tokens} tokens"))
                .with_source(format!("{error}: {said}"))
        })?;
        let batch = LlamaBatch::new(READ_AT_ONCE, 1);
        Ok(Llama { weights: self, context, batch, sampler: LlamaSampler::greedy(), read: 0 })
    }
}

/// An answer under way.
pub(super) struct Llama<'w> {
    weights: &'w Weights,
    context: LlamaContext<'w>,
    batch: LlamaBatch<'static>,
    sampler: LlamaSampler,
    /// Tokens in the context.
    read: usize,
}

impl Engine for Llama<'_> {
    fn start(&mut self, temperature: f32) -> Result<()> {
        self.context.clear_kv_cache();
        self.read = 0;
        self.sampler = if temperature > 0.0 {
            let seed = self.weights.seed;
            let (likely, warmth) = (LlamaSampler::top_p(TOP_P, 1), LlamaSampler::temp(temperature));
            LlamaSampler::chain_simple([likely, warmth, LlamaSampler::dist(seed)])
        } else {
            LlamaSampler::greedy()
        };
        Ok(())
    }

    fn read(&mut self, tokens: &[LlamaToken], last: bool) -> Result<()> {
        // llama.cpp would end the process where these do not hold.
        if tokens.is_empty() || tokens.len() > READ_AT_ONCE || self.read + tokens.len() > self.weights.context_tokens()
        {
            return Err(Error::internal("the local model was given more than its context holds"));
        }
        let failed = |reason: String| Error::unavailable("the local model failed").with_source(reason);
        self.batch.clear();
        for (place, token) in tokens.iter().enumerate() {
            let position = i32::try_from(self.read + place).map_err(|error| failed(error.to_string()))?;
            let drawn_from = last && place + 1 == tokens.len();
            self.batch.add(*token, position, &[0], drawn_from).map_err(|error| failed(error.to_string()))?;
        }
        self.context.decode(&mut self.batch).map_err(|error| failed(error.to_string()))?;
        self.read += tokens.len();
        Ok(())
    }

    fn draw(&mut self) -> Option<LlamaToken> {
        let token = self.sampler.sample(&self.context, -1);
        (!self.weights.model.vocab().is_eog(token)).then_some(token)
    }

    fn bytes(&self, token: LlamaToken) -> Vec<u8> {
        self.weights.model.vocab().token_to_piece(token, false, None)
    }
}

/// llama.cpp, set up once for the process; its lines go to `tracing`.
fn backend() -> Result<&'static LlamaBackend> {
    static BACKEND: OnceLock<Result<LlamaBackend, LlamaCppError>> = OnceLock::new();
    let backend = BACKEND.get_or_init(|| {
        send_logs_to_tracing(LogOptions::default());
        LlamaBackend::init()
    });
    backend.as_ref().map_err(|error| Error::internal("llama.cpp cannot be set up").with_source(error.to_string()))
}

/// llama.cpp is compiled for these instructions; without them the process would be killed at the first product.
fn check_processor() -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    {
        let found = [
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("fma", std::arch::is_x86_feature_detected!("fma")),
            ("f16c", std::arch::is_x86_feature_detected!("f16c")),
            ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
        ];
        let missing: Vec<&str> = found.into_iter().filter(|(_, has)| !has).map(|(name, _)| name).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Error::unavailable(format!("the local model needs a processor with {missing}")));
        }
    }
    Ok(())
}
