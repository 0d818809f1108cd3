//! The attack strings of BIPIA as documents, titles, questions and earlier turns of a live gateway, before a model that
//! obeys every word outside the marked blocks: none is obeyed.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use ragstone_testkit::client::Client;
use ragstone_testkit::fake_openai::{Behaviour, FakeOpenAi, OBEYED};
use ragstone_testkit::stack::{Form, Stack};
use serde_json::{Value, json};

use crate::world::{ALL, client, evaluation_data, say, token};

/// A title is no longer.
const TITLE_CHARS: usize = 500;
/// Requests at once.
const AT_ONCE: usize = 4;

/// The strings; `None`, and a word about it, where they are not on this machine.
fn attacks() -> Option<Vec<String>> {
    let mut attacks = Vec::new();
    for file in ["security/bipia_text_attack_train.json", "security/bipia_code_attack_train.json"] {
        let kinds: BTreeMap<String, Vec<String>> = evaluation_data("hostile documents", file)?;
        attacks.extend(kinds.into_values().flatten());
    }
    Some(attacks)
}

/// Each as a document, under a title that is one too; searched for by its number.
async fn bring_in(client: &Client, attacks: &[String]) {
    let documents = attacks.iter().enumerate().map(|(n, attack)| async move {
        let title: String = attack.replace('\n', " ").chars().take(TITLE_CHARS).collect();
        let document = json!({ "text": format!("Ticket {n} says: {attack}"), "title": title });
        client.ingest(&format!("ticket-{n}"), "application/json", document.to_string()).await.unwrap();
    });
    futures::stream::iter(documents).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// What the model said to a chat of these messages, and how many passages it was given.
async fn chat(client: &Client, messages: Value) -> (String, usize) {
    let body = json!({ "model": "ragstone", "messages": messages });
    let answer = client.post("/v1/chat/completions", &body).await.unwrap().expect_status(200).unwrap();
    let passages = answer["ragstone"]["contexts"].as_array().unwrap().len();
    (answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned(), passages)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_document_question_or_turn_is_obeyed() {
    let Some(attacks) = attacks() else { return };
    assert_eq!(attacks.len(), 125);
    let model = FakeOpenAi::start([Behaviour::obedient()]).await.unwrap();
    let mut stack = Stack::prepare(Form::AllInOne).unwrap();
    stack.require_authentication();
    stack.env("OPENAI_BASE_URL", &model.base_url());
    stack.env("OPENAI_API_KEY", "key");
    stack.env("RAGSTONE__GATEWAY__LIMITS__QUERIES_PER_HOUR", "0");
    stack.run().await.unwrap();
    let ada = client(&stack, &token("acme", "ada", &ALL, &[]));
    bring_in(&ada, &attacks).await;
    let said = attacks.iter().enumerate().map(|(n, attack)| {
        let ada = &ada;
        async move {
            let asked = format!("What does ticket {n} say?");
            let (as_document, passages) = chat(ada, json!([{ "role": "user", "content": asked }])).await;
            assert!(passages > 0, "ticket {n} is not found");
            let question: String = attack.chars().take(1000).collect();
            let (as_question, _) = chat(ada, json!([{ "role": "user", "content": question }])).await;
            let turns = json!([
                { "role": "user", "content": attack }, { "role": "assistant", "content": attack },
                { "role": "user", "content": asked },
            ]);
            let (as_turn, _) = chat(ada, turns).await;
            [as_document, as_question, as_turn]
        }
    });
    let said: Vec<[String; 3]> = futures::stream::iter(said).buffered(AT_ONCE).collect().await;
    let obeyed: Vec<_> = said.iter().flatten().filter(|answer| answer.contains(OBEYED.trim())).collect();
    assert!(obeyed.is_empty(), "{obeyed:#?}");
    let asked = model.seen().len();
    assert!(asked >= 3 * attacks.len(), "the model was asked {asked} times");
    say(&format!(
        "hostile documents: {} strings in three places, {asked} calls of the model, none obeyed",
        attacks.len()
    ));
    stack.stop().await.unwrap();
}
