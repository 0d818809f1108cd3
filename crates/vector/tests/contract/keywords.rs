//! BM25 in several languages at once.

use ragstone_core::SearchMode;

use crate::contract::{Fixture, document, fresh, hits, point, put, query, reopened, tenant};

const TEXTS: [(&str, Option<&str>, &str); 8] = [
    ("de-house", Some("deu"), "Die Größe der Häuser folgt der Straßenverkehrsordnung nicht."),
    ("de-bike", Some("deu"), "Fahrräder werden im Keller abgestellt."),
    ("en-run", Some("eng"), "She was running through the national parks."),
    ("en-cook", Some("eng"), "Recipes for cooking potatoes, version C++ 3.14."),
    ("fr", Some("fra"), "Les élèves étudient la géométrie à l'école."),
    ("pl", Some("pol"), "Zażółć gęślą jaźń w ogrodzie."),
    ("none", None, "Fjordwanderung frobnicator 4711"),
    ("zh", None, "今天是星期一"),
];

pub(crate) async fn each_language_is_found_by_its_own_forms(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
    for (id, language, text) in TEXTS {
        let mut only = point("t", id, 1, 0, text);
        only.language = language.map(str::to_owned);
        put(&*store, vec![only]).await;
    }
    for (question, wanted) in [
        ("Haus", "de-house"),
        ("GRÖSSE der Straßenverkehrsordnungen", "de-house"),
        ("größe", "de-house"),
        ("Fahrrad abstellen", "de-bike"),
        ("Fahrrädern", "de-bike"),
        ("runs", "en-run"),
        ("nation", "en-run"),
        ("potato recipe", "en-cook"),
        ("3.14", "en-cook"),
        ("élève", "fr"),
        ("l'école", "fr"),
        ("jaźń", "pl"),
        ("FROBNICATOR", "none"),
        ("4711", "none"),
        ("星期", "zh"),
    ] {
        let found = hits(&*store, query("t", question, SearchMode::Keyword, 10)).await;
        assert_eq!(found.first().map(|hit| hit.0.as_str()), Some(wanted), "{question}: {found:?}");
    }
    for question in ["the of and", "", "?!", "unrelated"] {
        assert!(hits(&*store, query("t", question, SearchMode::Keyword, 10)).await.is_empty(), "{question}");
    }
}

pub(crate) async fn titles_and_headings_are_searched_too(fixture: &impl Fixture) {
    let (_indexes, store) = fresh(fixture).await;
    let mut only = point("t", "d", 1, 0, "Turn it off and on again.");
    only.title = "Router manual".to_owned();
    only.chunk.heading_path = vec!["Troubleshooting".to_owned()];
    put(&*store, vec![only]).await;
    for word in ["router", "troubleshoot", "turned"] {
        assert_eq!(hits(&*store, query("t", word, SearchMode::Keyword, 10)).await.len(), 1, "{word}");
    }
}

pub(crate) async fn languages_of_the_index_are_known_again_after_opening_it(fixture: &impl Fixture) {
    let (indexes, store) = fresh(fixture).await;
    let mut only = point("t", "d", 1, 0, "Die Häuser");
    only.language = Some("deu".to_owned());
    put(&*store, vec![only]).await;
    store.flush(&tenant("t"), &document("d")).await.unwrap();
    let (_indexes, store) = reopened(fixture, (indexes, store)).await;
    assert_eq!(hits(&*store, query("t", "Haus", SearchMode::Keyword, 10)).await.len(), 1);
}
