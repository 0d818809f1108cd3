//! Merges the sources and reads sections out of the result, refusing every key nobody knows.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use config::{Config, Environment, File, FileFormat};
use serde::de::DeserializeOwned;

/// Why a configuration cannot be used. Exit code 78.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file or a value in it cannot be read, or a key is not known.
    #[error("{0}")]
    Unusable(String),
    /// A section that no service has.
    #[error("unknown section or key '{key}'; known are: {known}")]
    UnknownSection {
        /// The name as written.
        key: String,
        /// The names that would do.
        known: String,
    },
    /// A value is of the right type but makes no sense.
    #[error("{section}: {problem}")]
    Invalid {
        /// The section it is in.
        section: String,
        /// What is wrong.
        problem: String,
    },
}

/// Where a configuration comes from. The environment is given, not read: tests stay pure.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file, where one is named; it must exist then.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: HashMap<String, String>,
    /// Values from the command line: dotted key and text.
    pub overrides: Vec<(String, String)>,
}

/// The merged tree.
#[derive(Debug, Clone)]
pub struct Merged(Config);

/// This process's environment; a variable that is not UTF-8 cannot name or be a setting.
#[must_use]
pub fn environment() -> HashMap<String, String> {
    let text = |(key, value): (OsString, OsString)| Some((key.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

impl Sources {
    /// Merges all sources and checks that every top-level key is one of `sections`.
    ///
    /// # Errors
    /// When the file cannot be read or parsed, or has an unknown top-level key.
    pub fn merge(self, sections: &[&str]) -> Result<Merged, ConfigError> {
        let mut builder = Config::builder();
        if let Some(path) = &self.file {
            let text = std::fs::read_to_string(path)
                .map_err(|e| ConfigError::Unusable(format!("cannot read {}: {e}", path.display())))?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        // `__` cannot appear in a key, so `RAGSTONE_URL` and the like are never taken for one.
        let env = Environment::with_prefix("RAGSTONE").prefix_separator("__").separator("__");
        builder = builder.add_source(env.source(Some(self.env)));
        for (key, value) in self.overrides {
            builder = builder.set_override(&key, value).map_err(|e| unusable(&e))?;
        }
        let merged = builder.build().map_err(|e| match &self.file {
            Some(path) => ConfigError::Unusable(format!("{}: {e}", path.display())),
            None => unusable(&e),
        })?;
        let tree: HashMap<String, config::Value> = merged.clone().try_deserialize().map_err(|e| unusable(&e))?;
        if let Some(key) = tree.keys().filter(|key| !sections.contains(&key.as_str())).min() {
            return Err(ConfigError::UnknownSection { key: key.clone(), known: sections.join(", ") });
        }
        Ok(Merged(merged))
    }
}

impl Merged {
    /// The section `name`; its defaults when no source mentions it.
    ///
    /// # Errors
    /// Names the key that is unknown or has a value of the wrong type.
    pub fn section<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, ConfigError> {
        let value = match self.0.get::<config::Value>(name) {
            Ok(value) => value,
            Err(config::ConfigError::NotFound(_)) => return Ok(T::default()),
            Err(error) => return Err(unusable(&error)),
        };
        // The library names the section only; the path leads to the key.
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            let place = if path == "." { name.to_owned() } else { format!("{name}.{path}") };
            ConfigError::Unusable(format!("{place}: {}", error.into_inner()))
        })
    }
}

fn unusable(error: &config::ConfigError) -> ConfigError {
    ConfigError::Unusable(error.to_string())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::io::Write as _;

    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Section {
        threads: u32,
        name: String,
        nested: Nested,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Nested {
        ratio: f64,
        on: bool,
    }

    fn load(toml: &str, env: &[(&str, &str)], overrides: &[(&str, &str)]) -> Result<Section, ConfigError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let sources = Sources {
            file: Some(file.path().to_owned()),
            env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            overrides: own(overrides),
        };
        sources.merge(&["worker", "other"])?.section("worker")
    }

    #[test]
    fn the_command_line_beats_the_environment_beats_the_file() {
        let toml = "[worker]\nthreads = 1\nname = 'file'\n[worker.nested]\nratio = 0.5\n[other]\nx = 1\n";
        let env = [("RAGSTONE__WORKER__NAME", "007"), ("RAGSTONE__WORKER__NESTED__ON", "true"), ("RAGSTONE_URL", "x")];
        let section = load(toml, &env, &[("worker.threads", "9")]).unwrap();
        assert_eq!(section, Section { threads: 9, name: "007".into(), nested: Nested { ratio: 0.5, on: true } });
    }

    #[test]
    fn nothing_at_all_gives_the_defaults() {
        assert_eq!(
            Sources::default().merge(&["worker"]).unwrap().section::<Section>("worker").unwrap(),
            Section::default()
        );
    }

    #[test]
    fn every_mistake_is_named() {
        for (toml, env, says) in [
            ("[worker]\nthreds = 1", vec![], "threds"),
            ("[worker.nested]\nrate = 1", vec![], "rate"),
            ("[wroker]\nthreads = 1", vec![], "wroker"),
            ("[worker]\nthreads = 'many'", vec![], "threads"),
            ("[worker\n", vec![], "TOML"),
            ("", vec![("RAGSTONE__WORKER__THREDS", "1")], "threds"),
            ("", vec![("RAGSTONE__WROKER__THREADS", "1")], "wroker"),
        ] {
            let error = load(toml, &env, &[]).unwrap_err().to_string();
            assert!(error.contains(says), "{toml} {env:?}: {error}");
        }
        let missing = Sources { file: Some("/nowhere/x.toml".into()), ..Sources::default() };
        assert!(missing.merge(&[]).unwrap_err().to_string().contains("/nowhere/x.toml"));
    }
}
