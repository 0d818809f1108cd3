//! Configuration: command line > environment (`RAGSTONE__SECTION__KEY`) > TOML file > defaults. Knows no service.

mod dump;
mod load;
mod reference;

pub use dump::dump;
pub use load::{ConfigError, Merged, Sources, environment};
pub use reference::reference;
