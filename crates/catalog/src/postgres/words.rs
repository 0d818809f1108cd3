//! Full-text search: chunks are stored with their words, and the words are found again.

use std::ops::RangeInclusive;

use ragstone_core::ports::VersionText;
use ragstone_core::{Access, DocumentId, Result, TenantId};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::PostgresCatalog;
use super::dialect::{groups, readable, stored};
use super::failure::Failure;
use super::rows::to_int;
use crate::words::{ChunkWords, searchable, tenant_word, without_accents};

/// Chunks that go in with one statement.
const BATCH: usize = 500;
/// What knows no language: words as they are.
const SIMPLE: &str = "simple";
/// Languages by their ISO 639-3 code, and the configurations that PostgreSQL ships for them.
const CONFIGS: [(&str, &str); 32] = [
    ("ara", "arabic"),
    ("cat", "catalan"),
    ("dan", "danish"),
    ("deu", "german"),
    ("ell", "greek"),
    ("eng", "english"),
    ("eus", "basque"),
    ("fin", "finnish"),
    ("fra", "french"),
    ("gle", "irish"),
    ("hin", "hindi"),
    ("hun", "hungarian"),
    ("hye", "armenian"),
    ("ind", "indonesian"),
    ("ita", "italian"),
    ("lit", "lithuanian"),
    ("nep", "nepali"),
    ("nld", "dutch"),
    ("nno", "norwegian"),
    ("nob", "norwegian"),
    ("nor", "norwegian"),
    ("por", "portuguese"),
    ("ron", "romanian"),
    ("rus", "russian"),
    ("spa", "spanish"),
    ("srp", "serbian"),
    ("swe", "swedish"),
    ("tam", "tamil"),
    ("tur", "turkish"),
    ("ydd", "yiddish"),
    ("yid", "yiddish"),
    ("npi", "nepali"),
];

impl PostgresCatalog {
    /// The configuration for texts in `language`, as far as this server has one.
    fn config(&self, language: Option<&str>) -> &'static str {
        let known = CONFIGS.iter().find(|(code, _)| Some(*code) == language).map(|(_, config)| *config);
        known.filter(|config| self.configs.contains(*config)).unwrap_or(SIMPLE)
    }
}

/// Removes chunks of these versions with their words.
pub(super) async fn delete_chunks(
    tx: &mut PgConnection,
    tenant: &TenantId,
    document: &DocumentId,
    versions: RangeInclusive<u64>,
) -> Result<(), Failure> {
    sqlx::query("DELETE FROM chunks WHERE tenant = $1 AND document_id = $2 AND version BETWEEN $3 AND $4")
        .bind(tenant.as_str())
        .bind(document.as_str())
        .bind(to_int(*versions.start()))
        .bind(to_int(*versions.end()))
        .execute(tx)
        .await?;
    Ok(())
}

/// Words with, where some have accents, the same without them: `élève` is found by `eleve` too.
fn with_plain(words: String) -> String {
    let plain = without_accents(&words);
    if plain.is_empty() { words } else { format!("{words} {plain}") }
}

/// Stores chunks with their words.
pub(super) async fn insert_chunks(
    store: &PostgresCatalog,
    tx: &mut PgConnection,
    (tenant, document, version): (&TenantId, &DocumentId, u64),
    text: &VersionText,
) -> Result<(), Failure> {
    let config = store.config(text.language.as_deref());
    sqlx::query("INSERT INTO tenant_configs (tenant, config) VALUES ($1, $2) ON CONFLICT (tenant, config) DO NOTHING")
        .bind(tenant.as_str())
        .bind(config)
        .execute(&mut *tx)
        .await?;
    let title = with_plain(searchable(&text.title));
    for chunks in text.chunks.chunks(BATCH) {
        let paths = chunks.iter().map(|chunk| serde_json::to_string(&chunk.heading_path));
        let paths = paths.collect::<Result<Vec<String>, _>>()?;
        let words: Vec<ChunkWords> = chunks.iter().map(ChunkWords::of).collect();
        let (headings, contents): (Vec<_>, Vec<_>) =
            words.into_iter().map(|words| (with_plain(words.headings), with_plain(words.content))).unzip();
        sqlx::query(
            "INSERT INTO chunks (tenant, document_id, version, config, chunk_index, content, heading_path, start_char, \
             end_char, tokens, words) \
             SELECT $1, $2, $3, $4, c.chunk_index, c.content, c.path, c.start_char, c.end_char, c.tokens, \
             array_to_tsvector(ARRAY[$5]) || setweight(to_tsvector($4::regconfig, $6), 'A') \
             || setweight(to_tsvector($4::regconfig, c.heading_words), 'B') || to_tsvector($4::regconfig, c.words) \
             FROM unnest($7::bigint[], $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], \
             $13::text[], $14::text[]) \
             AS c (chunk_index, content, path, start_char, end_char, tokens, heading_words, words)",
        )
        .bind(tenant.as_str())
        .bind(document.as_str())
        .bind(to_int(version))
        .bind(config)
        .bind(tenant_word(tenant))
        .bind(&title)
        .bind(chunks.iter().map(|chunk| i64::from(chunk.index)).collect::<Vec<_>>())
        .bind(chunks.iter().map(|chunk| stored(&chunk.content).into_owned()).collect::<Vec<_>>())
        .bind(paths)
        .bind(chunks.iter().map(|chunk| to_int(chunk.start)).collect::<Vec<_>>())
        .bind(chunks.iter().map(|chunk| to_int(chunk.end)).collect::<Vec<_>>())
        .bind(chunks.iter().map(|chunk| i64::from(chunk.tokens)).collect::<Vec<_>>())
        .bind(headings)
        .bind(contents)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// A question as PostgreSQL takes it.
pub(super) struct Question {
    tenant: TenantId,
    words: String,
    tenant_word: String,
    all: bool,
    groups: Vec<String>,
}

impl Question {
    /// Any of the words.
    pub(super) fn new(asked: &[String], access: &Access) -> Result<Self, Failure> {
        let (all, groups) = groups(access)?;
        let tenant_word = format!("'{}'", tenant_word(&access.tenant));
        Ok(Self { tenant: access.tenant.clone(), words: with_plain(asked.join(" ")), tenant_word, all, groups })
    }
}

/// Live chunks with some of the words, best first: `asked` is the question in every configuration that the tenant's chunks
/// were made with, any word of it. A word in the title counts most, one in a heading less. `ts_rank` rather than
/// `ts_rank_cd`: it values different words over one word many times, as a question with many words needs.
pub(super) async fn matches(
    connection: &mut PgConnection,
    question: &Question,
    limit: i64,
    offset: i64,
) -> Result<Vec<PgRow>, Failure> {
    Ok(sqlx::query(concat!(
        "WITH asked (config, any_word) AS MATERIALIZED ( \
            SELECT t.config, string_agg('''' || replace(replace(w.lexeme, '\\', '\\\\'), '''', '''''') || '''', ' | ')::tsquery \
            FROM tenant_configs t CROSS JOIN LATERAL unnest(to_tsvector(t.config::regconfig, $1)) w \
            WHERE t.tenant = $2 GROUP BY t.config \
         ) \
         SELECT c.document_id, c.version, c.chunk_index, c.content, c.heading_path, c.start_char, c.end_char, c.tokens, \
         v.title, v.metadata, ts_rank('{0.4, 0.4, 0.6, 0.9}', c.words, a.any_word, 1)::float8 AS score \
         FROM asked a JOIN chunks c ON c.config = a.config AND c.words @@ ($3::tsquery && a.any_word) \
         JOIN documents d ON d.tenant = c.tenant AND d.document_id = c.document_id AND d.live_version = c.version \
         JOIN versions v ON v.tenant = c.tenant AND v.document_id = c.document_id AND v.version = c.version \
         WHERE c.tenant = $2 AND ",
        readable!("v.groups", "$4", "$5"),
        " ORDER BY score DESC, c.document_id, c.chunk_index LIMIT $6 OFFSET $7",
    ))
    .bind(&question.words)
    .bind(question.tenant.as_str())
    .bind(&question.tenant_word)
    .bind(question.all)
    .bind(&question.groups)
    .bind(limit)
    .bind(offset)
    .fetch_all(connection)
    .await?)
}
