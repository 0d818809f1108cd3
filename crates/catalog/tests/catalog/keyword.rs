//! Keyword search over the texts of live versions.

use std::collections::BTreeSet;

use ragstone_core::ports::{NewVersion, VersionText};
use ragstone_core::{Access, Chunk, ErrorCode, Filter, GroupAccess, Hit, KeywordQuery, Metadata};

use crate::support::{Fixture, Place, by, contract, document, tenant, version};

fn chunk(index: u32, content: &str, headings: &[&str]) -> Chunk {
    let heading_path = headings.iter().map(|heading| (*heading).to_owned()).collect();
    Chunk { index, content: content.to_owned(), heading_path, start: 7, end: 9, tokens: 1 }
}

fn query(text: &str, k: usize) -> KeywordQuery {
    let access = Access { tenant: tenant("t"), groups: GroupAccess::All };
    KeywordQuery { access, text: text.to_owned(), k, filter: Filter::default() }
}

impl Fixture {
    /// Makes a document live with these chunks.
    async fn live(&self, offer: NewVersion, title: &str, language: &str, chunks: Vec<Chunk>) {
        self.catalog.accept(&by(offer.tenant.as_str()), offer).await.unwrap();
        let leased = self.lease().await.unwrap();
        let text = VersionText { title: title.to_owned(), language: Some(language.to_owned()), chunks };
        self.catalog.store_text(&leased.lease, text).await.unwrap();
        self.finish(&self.renew(leased).await).await;
    }

    async fn simple(&self, id: &str, content: &str) {
        self.live(version("t", id, content), "", "und", vec![chunk(0, content, &[])]).await;
    }

    async fn find(&self, query: KeywordQuery) -> Vec<Hit> {
        self.catalog.keyword_search(query).await.unwrap()
    }

    async fn ids(&self, text: &str) -> Vec<String> {
        ids(&self.find(query(text, 10)).await)
    }
}

fn ids(hits: &[Hit]) -> Vec<String> {
    hits.iter().map(|hit| hit.document_id.to_string()).collect()
}

async fn a_hit_carries_what_an_answer_needs(f: Fixture) {
    f.live(
        version("t", "d", "x"),
        "Pump manual",
        "eng",
        vec![
            chunk(0, "Something else.", &[]),
            chunk(1, "The warranty\u{0} lasts 24 months 🦀.", &["Service", "Warranty \"plus\""]),
        ],
    )
    .await;
    let hits = f.find(query("How long is the WARRANTY of the pump?", 1)).await;
    let [hit] = &hits[..] else { panic!("{hits:?}") };
    assert_eq!((hit.document_id.as_str(), hit.version, hit.chunk_index), ("d", 1, 1));
    assert_eq!(hit.content, "The warranty\u{0} lasts 24 months 🦀.");
    assert_eq!((hit.title.as_str(), hit.start, hit.end), ("Pump manual", 7, 9));
    assert_eq!(hit.heading_path, ["Service", "Warranty \"plus\""]);
    assert_eq!(hit.metadata["lang"], "de");
    assert!(hit.score > 0.0);
}

async fn any_word_finds_and_more_words_find_better(f: Fixture) {
    f.simple("one", "the pump stands in the cellar").await;
    f.simple("two", "the pump has a valve").await;
    f.simple("none", "nothing of that kind").await;
    f.simple("often", "pump pump pump pump pump pump pump").await;
    let found = f.ids("pump valve unheardof").await;
    assert_eq!((found[0].as_str(), found.len()), ("two", 3), "{found:?}");
    assert!(f.ids("unheardof").await.is_empty());
    let scores: Vec<f32> = f.find(query("pump valve", 10)).await.iter().map(|hit| hit.score).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert_eq!(f.find(query("pump", 2)).await.len(), 2);
    assert!(f.find(query("pump", 0)).await.is_empty());
}

async fn titles_and_headings_count(f: Fixture) {
    f.live(version("t", "title", "a"), "Compressor", "eng", vec![chunk(0, "see inside", &[])]).await;
    f.live(version("t", "heading", "b"), "", "eng", vec![chunk(0, "see inside", &["Boiler"])]).await;
    assert_eq!(f.ids("compressor").await, ["title"]);
    assert_eq!(f.ids("boiler").await, ["heading"]);
}

async fn words_of_any_script_and_case_and_accent(f: Fixture) {
    f.simple("fr", "L'élève étudie").await;
    f.simple("de", "Viele Grüße aus ÖSTERREICH").await;
    f.simple("ja", "東京は大きい").await;
    f.simple("el", "ΑΘΗΝΑ").await;
    f.simple("num", "costs 3.14 with C++").await;
    for (asked, expected) in [
        ("élève", "fr"),
        ("eleve", "fr"),
        ("e\u{301}le\u{300}ve", "fr"),
        ("ELEVE!", "fr"),
        ("österreich", "de"),
        ("Osterreich", "de"),
        ("京", "ja"),
        ("αθηνα", "el"),
        ("3.14", "num"),
    ] {
        assert_eq!(f.ids(asked).await, [expected], "{asked}");
    }
}

async fn no_question_is_taken_for_syntax(f: Fixture) {
    f.simple("d", "plain words of the tenant").await;
    for nothing in ["", " ", "?!", "\"", "'", "*", "\\", "()", "\u{0}", "。、"] {
        assert!(f.ids(nothing).await.is_empty(), "{nothing:?}");
    }
    for harmless in [
        "plain\" OR \"x",
        "plain'",
        "plain AND nothing",
        "NOT plain",
        "plain*",
        "plain:*",
        "title : plain",
        "{plain} NEAR(words)",
        "plain \\ & | ! ( <->",
        "plain'); DROP TABLE chunks; --",
        "pla\u{0}in plain",
        "^plain -words +of",
        "$1 ?1 plain",
    ] {
        assert_eq!(f.ids(harmless).await, ["d"], "{harmless}");
    }
    let long = "plain ".repeat(50_000) + &(0..5_000).map(|n| format!("w{n} ")).collect::<String>();
    assert_eq!(f.ids(&long).await, ["d"]);
}

async fn only_what_is_live_is_found(f: Fixture) {
    f.simple("d", "oldword").await;
    f.put("d", "new").await;
    let leased = f.lease().await.unwrap();
    let chunks = vec![chunk(0, "newword", &[])];
    let text = VersionText { title: String::new(), language: None, chunks };
    f.catalog.store_text(&leased.lease, text).await.unwrap();
    assert_eq!((f.ids("oldword").await.len(), f.ids("newword").await.len()), (1, 0));
    f.finish(&f.renew(leased).await).await;
    assert_eq!((f.ids("oldword").await.len(), f.ids("newword").await.len()), (0, 1));
    f.catalog.delete(&by("t"), &document("d"), None, None).await.unwrap();
    assert_eq!(f.ids("newword").await.len(), 1, "until it is gone from the indexes");
    f.work().await.unwrap();
    assert!(f.ids("newword").await.is_empty());
}

async fn tenants_and_groups_are_kept_apart(f: Fixture) {
    let groups: [(&str, &[&str]); 5] = [
        ("all", &[]),
        ("staff", &["staff"]),
        ("both", &["staff", "board"]),
        ("quoted", &["x\"staff", "nul\u{0}"]),
        ("list", &["staff,board", "[\"staff\"]"]),
    ];
    for (id, groups) in groups {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let offer = NewVersion { groups, ..version("t", id, id) };
        f.live(offer, "", "eng", vec![chunk(0, "secret", &[])]).await;
    }
    let offer = NewVersion { groups: Vec::new(), ..version("u", "theirs", "x") };
    f.live(offer, "", "eng", vec![chunk(0, "secret", &[])]).await;
    let see = async |groups: Option<&[&str]>| {
        let groups = match groups {
            None => GroupAccess::All,
            Some(names) => GroupAccess::Groups(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>()),
        };
        let access = Access { tenant: tenant("t"), groups };
        let mut found = ids(&f.find(KeywordQuery { access, ..query("secret", 10) }).await);
        found.sort();
        found
    };
    assert_eq!(see(None).await, ["all", "both", "list", "quoted", "staff"]);
    assert_eq!(see(Some(&[])).await, ["all"]);
    assert_eq!(see(Some(&["staff"])).await, ["all", "both", "staff"]);
    assert_eq!(see(Some(&["board", "other"])).await, ["all", "both"]);
    assert_eq!(see(Some(&["x\"staff"])).await, ["all", "quoted"]);
    assert_eq!(see(Some(&["nul\u{0}"])).await, ["all", "quoted"]);
    assert_eq!(see(Some(&["[\"staff\"]"])).await, ["all", "list"]);
    assert_eq!(see(Some(&["", "sta", "staff\"", "\"staff\""])).await, ["all"]);
}

async fn a_filter_is_applied_until_there_are_enough(f: Fixture) {
    for n in 0..150 {
        let metadata = Metadata::from_iter([("n".to_owned(), n.into())]);
        let offer = NewVersion { metadata, ..version("t", &format!("d{n:03}"), "x") };
        f.live(offer, "", "eng", vec![chunk(0, "pump", &[])]).await;
    }
    let filtered = |json: &str, k| KeywordQuery { filter: serde_json::from_str(json).unwrap(), ..query("pump", k) };
    let last = r#"{"must":[{"key":"metadata.n","gte":140}]}"#;
    assert_eq!(ids(&f.find(filtered(last, 3)).await), ["d140", "d141", "d142"], "ties are broken on ids");
    assert_eq!(f.find(filtered(last, 100)).await.len(), 10);
    let one = r#"{"must":[{"key":"document_id","match":"d149"}]}"#;
    assert_eq!(ids(&f.find(filtered(one, 5)).await), ["d149"]);
    let bad: Filter = serde_json::from_str(r#"{"must":[{"key":"tenant","match":"u"}]}"#).unwrap();
    let refused = f.catalog.keyword_search(KeywordQuery { filter: bad, ..query("pump", 1) }).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidArgument);
}

async fn languages_have_their_own_forms(f: Fixture) {
    f.live(version("t", "en", "a"), "", "eng", vec![chunk(0, "running engines", &[])]).await;
    f.live(version("t", "de", "b"), "", "deu", vec![chunk(0, "laufende Maschinen", &[])]).await;
    f.live(version("t", "xx", "c"), "", "zzz", vec![chunk(0, "unknown tongue", &[])]).await;
    assert_eq!(f.ids("unknown").await, ["xx"]);
    assert_eq!(f.ids("Maschinen").await, ["de"]);
    // SQLite has no stems: words are found as they are written.
    let stems = matches!(f.place, Place::Postgres(_));
    for (asked, id) in [("engine", "en"), ("run", "en"), ("Maschine", "de")] {
        let expected: &[&str] = if stems { &[id] } else { &[] };
        assert_eq!(f.ids(asked).await, expected, "{asked}");
    }
}

contract! {
    a_hit_carries_what_an_answer_needs,
    any_word_finds_and_more_words_find_better,
    titles_and_headings_count,
    words_of_any_script_and_case_and_accent,
    no_question_is_taken_for_syntax,
    only_what_is_live_is_found,
    tenants_and_groups_are_kept_apart,
    a_filter_is_applied_until_there_are_enough,
    languages_have_their_own_forms,
}
