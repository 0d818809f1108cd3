//! Wycheproof's vectors for signed tokens (`json_web_signature_test.json`), each through the verifier as configured with the
//! vector's one key. They lie in `../shared/data/security` beside the repository or where `RAGSTONE_EVAL_DATA` says.
//!
//! Out of scope: P-521 (`ES512`) is not supported, and must be refused. Stricter than the vectors: a `?` within base64url,
//! which they call valid as some decoders skip it, is refused; and so is a token whose algorithm is not that of its key, even
//! where the vectors have one (RFC 7520, figure 20: `PS384` with a key for `PS256`), which passes once the key says so. Two
//! vectors contradict the set itself: they are called invalid, and are byte for byte the one that is called `ValidMac`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::algorithm::JwtAlgorithm;

/// Vectors that are called valid but that are refused here, by comment, with the reason.
const STRICTER: [(&str, Reason); 4] = [
    ("InvalidCharacterInsertedInHeader", Reason::Malformed),
    ("InvalidCharacterInsertedInPayload", Reason::Malformed),
    ("Figure20", Reason::UnknownKey),
    ("Figure27", Reason::Algorithm),
];

fn vectors() -> Option<Value> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let root = std::env::var_os("RAGSTONE_EVAL_DATA").map_or_else(beside, PathBuf::from);
    let path = root.join("security/wycheproof_json_web_signature.json");
    let Ok(json) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is not there; RAGSTONE_EVAL_DATA names the folder of evaluation data", path.display());
        return None;
    };
    Some(serde_json::from_str(&json).unwrap())
}

/// A verifier with this key alone.
fn verifier(key: &Value) -> Verifier {
    let clock = Clock::default();
    let config = JwtConfig { jwks_url: "https://idp.example/keys".to_owned(), ..JwtConfig::default() };
    drop(rustls::crypto::ring::default_provider().install_default());
    let set = json!({ "keys": [key] }).to_string();
    let published = Jwks::new(&config, clock.clone()).unwrap().holding(&set, &JwtAlgorithm::ALL);
    let secret = key["k"].as_str().map(|text| DecodingKey::from_secret(&URL_SAFE_NO_PAD.decode(text).unwrap()));
    Verifier { secret, published: Some(Arc::new(published)), rules: Rules::new(&config), clock }
}

#[tokio::test]
async fn wycheproof() {
    let Some(vectors) = vectors() else { return };
    let (mut accepted, mut refused, mut stricter, mut contradictory, mut wrong) = (0, 0, 0, 0, Vec::new());
    for group in vectors["testGroups"].as_array().unwrap() {
        let key = if group["public"].is_object() { &group["public"] } else { &group["private"] };
        let verifier = verifier(key);
        let tests = group["tests"].as_array().unwrap();
        for test in tests {
            let comment = test["comment"].as_str().unwrap();
            let token = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), str::to_owned);
            let result = verifier.payload(&token).await.map(drop);
            let known = STRICTER.iter().find(|(name, _)| *name == comment).map(|(_, reason)| *reason);
            match (test["result"].as_str().unwrap(), known, result) {
                ("valid", None, Ok(())) => accepted += 1,
                ("valid", Some(reason), Err(found)) if reason == found => stricter += 1,
                ("invalid", None, Err(_)) => refused += 1,
                ("invalid", None, Ok(()))
                    if tests.iter().any(|t| t["jws"] == test["jws"] && t["result"] == "valid") =>
                {
                    contradictory += 1;
                }
                (expected, _, found) => wrong.push(format!("{} {comment}: {found:?}, not {expected}", test["tcId"])),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!(
        "Wycheproof: {accepted} accepted, {refused} refused, {stricter} refused that it calls valid, {contradictory} contradictory"
    );
    assert_eq!((accepted + refused + stricter + contradictory, contradictory), (401, 2));
    assert!(accepted >= 37 && stricter == 6, "{accepted} {stricter}");
}

#[tokio::test]
async fn the_pinned_algorithm_is_all_that_is_against_figure_20() {
    let Some(vectors) = vectors() else { return };
    let groups = vectors["testGroups"].as_array().unwrap().iter();
    let (key, token) = groups
        .flat_map(|group| group["tests"].as_array().unwrap().iter().map(|test| (&group["public"], test)))
        .find(|(_, test)| test["comment"] == "Figure20")
        .unwrap();
    let mut key = key.clone();
    key["alg"] = json!("PS384");
    assert!(verifier(&key).payload(token["jws"].as_str().unwrap()).await.is_ok());
}
