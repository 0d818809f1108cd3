//! Credentials in the wrong form or the wrong place.

use serde_json::json;

use super::{Fixture, Table, b64, claims, hmac_with, signed};

pub(super) fn attack(fixture: &Fixture, table: &mut Table) {
    let good = fixture.token("acme", "query");
    places(fixture, table, &good);
    parts(fixture, table, &good);
    headers(fixture, table);
    api_keys(fixture, table);
}

/// Where the credential stands and how it is announced.
fn places(fixture: &Fixture, table: &mut Table, good: &str) {
    let key = fixture.api_key.key.expose();
    let bearer = &format!("Bearer {good}");
    let malformed = [
        ("the token alone", good.to_owned()),
        ("Basic", format!("Basic {}", b64(format!("user:{good}")))),
        ("Basic with the token as it is", format!("Basic {good}")),
        ("Token", format!("Token {good}")),
        ("JWT", format!("JWT {good}")),
        ("no space", format!("Bearer{good}")),
        ("two spaces", format!("Bearer  {good}")),
        ("a tab", format!("Bearer\t{good}")),
        ("a colon", format!("Bearer: {good}")),
        ("an equals sign", format!("Bearer={good}")),
        ("quotes", format!("Bearer \"{good}\"")),
        ("a parameter", format!("Bearer token={good}")),
        ("two in one header", format!("Bearer {good}, Bearer {good}")),
        ("more after it", format!("Bearer {good} x")),
        ("twice the word", format!("Bearer Bearer {good}")),
        ("wide letters", format!("\u{ff22}earer {good}")),
        ("an invisible character", format!("Bearer {good}\u{200b}")),
        ("nothing after the word", "Bearer".to_owned()),
        ("an empty header", String::new()),
        ("a word", "Bearer null".to_owned()),
    ];
    for (name, value) in &malformed {
        table.header(*name, Some("malformed"), &[("authorization", value)]);
    }
    table.header("no credential", Some("missing"), &[]);
    table.header("the header twice", Some("ambiguous"), &[("authorization", bearer), ("authorization", bearer)]);
    let none = "Bearer x.y.z";
    table.header("a bad one first", Some("ambiguous"), &[("authorization", none), ("authorization", bearer)]);
    table.header("two kinds", Some("ambiguous"), &[("authorization", bearer), ("x-api-key", key)]);
    table.header("two keys", Some("ambiguous"), &[("x-api-key", key), ("x-api-key", "x")]);
    table.header("a token as a key", Some("malformed"), &[("x-api-key", good)]);
    table.header("a key as Basic", Some("malformed"), &[("authorization", &format!("Basic {key}"))]);
    table.header("another proxy's header", Some("missing"), &[("x-forwarded-authorization", bearer)]);
    table.header("a cookie", Some("missing"), &[("cookie", &format!("authorization={good}"))]);
    table.header("a claimed user", Some("missing"), &[("x-forwarded-user", "admin"), ("x-tenant", "acme")]);
}

/// The token's parts and their base64.
fn parts(fixture: &Fixture, table: &mut Table, good: &str) {
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { return };
    let flat = json!({ "protected": header, "payload": payload, "signature": signature });
    let general = json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] });
    for (name, token) in [
        ("one part", header.to_owned()),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{good}.{signature}")),
        ("five parts", format!("{header}..{payload}.{signature}.{signature}")),
        ("a dot before", format!(".{good}")),
        ("a dot after", format!("{good}.")),
        ("dots only", "..".to_owned()),
        ("no header", format!(".{payload}.{signature}")),
        ("parts swapped", format!("{payload}.{header}.{signature}")),
        ("padding", format!("{good}=")),
        ("padding in the middle", format!("{header}=.{payload}.{signature}")),
        ("percent-encoded dots", good.replace('.', "%2E")),
        ("flattened JSON", flat.to_string()),
        ("general JSON", general.to_string()),
        ("a stray bit in the signature", stray_bit(header, payload, signature)),
    ] {
        table.token(name, Some("malformed"), &token);
    }
    table.token("no payload part", Some("signature"), &format!("{header}..{signature}"));
    table.token("lower case", Some("malformed"), &good.to_lowercase());
    let mut long = claims();
    long["x"] = json!("x".repeat(8 * 1024));
    table.token("over 8 KiB", Some("too_large"), &fixture.hs256(&json!({ "alg": "HS256" }), &long));
    // The other base64 alphabet: `>` and `?` repeated have `-` and `_` in their code.
    let mut odd = claims();
    odd["x"] = json!(">>>>????>>>????ÿÿ");
    let token = fixture.hs256(&json!({ "alg": "HS256" }), &odd).replace('-', "+").replace('_', "/");
    table.token("the other base64 alphabet", Some("malformed"), &token);
}

/// The signature with one of the two bits set that belong to no byte.
fn stray_bit(header: &str, payload: &str, signature: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = signature.split_at(signature.len() - 1);
    let next = ALPHABET.find(last).and_then(|at| ALPHABET.get(at + 1..at + 2)).unwrap_or_default();
    format!("{header}.{payload}.{rest}{next}")
}

/// Headers of the token, over a genuine signature.
fn headers(fixture: &Fixture, table: &mut Table) {
    let sign = |message: &[u8]| hmac_with(fixture.secret.as_bytes(), message);
    let claims = claims().to_string();
    for (name, header) in [
        ("crit", r#"{"alg":"HS256","crit":["exp"],"exp":1}"#),
        ("an empty crit", r#"{"alg":"HS256","crit":[]}"#),
        ("unencoded payload", r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#),
        ("b64 without crit", r#"{"alg":"HS256","b64":false}"#),
        ("a logout token", r#"{"alg":"HS256","typ":"logout+jwt"}"#),
        ("an event", r#"{"alg":"HS256","typ":"secevent+jwt"}"#),
        ("a proof of possession", r#"{"alg":"HS256","typ":"dpop+jwt"}"#),
        ("typ is a list", r#"{"alg":"HS256","typ":["JWT"]}"#),
        ("alg twice", r#"{"alg":"HS256","alg":"none"}"#),
        ("alg twice, the other way", r#"{"alg":"none","alg":"HS256"}"#),
        ("kid twice", r#"{"alg":"HS256","kid":"a","kid":"b"}"#),
        ("no alg", r#"{"typ":"JWT"}"#),
        ("alg in capitals", r#"{"ALG":"HS256"}"#),
        ("alg is null", r#"{"alg":null}"#),
        ("alg is a list", r#"{"alg":["HS256"]}"#),
        ("alg is an object", r#"{"alg":{"HS256":1}}"#),
        ("alg is a number", r#"{"alg":256}"#),
        ("kid is a number", r#"{"alg":"HS256","kid":1}"#),
        ("kid is null", r#"{"alg":"HS256","kid":null}"#),
        ("kid is a list", r#"{"alg":"HS256","kid":["rsa-1"]}"#),
        ("kid is empty", r#"{"alg":"HS256","kid":""}"#),
        ("the header is a list", r#"[{"alg":"HS256"}]"#),
        ("the header is a text", r#""HS256""#),
        ("two headers", r#"{"alg":"HS256"}{"alg":"HS256"}"#),
        ("a byte order mark in the header", "\u{feff}{\"alg\":\"HS256\"}"),
    ] {
        table.token(name, Some("malformed"), &signed(header, &claims, sign));
    }
    let long = json!({ "alg": "HS256", "kid": "k".repeat(300) }).to_string();
    table.token("a long kid", Some("malformed"), &signed(&long, &claims, sign));
    for name in ["hs256", "HS256 ", "HS384", "HS512", "HS1", "", "ES512", "ES256K", "RSA-OAEP", "dir", "RS256\u{0}"] {
        let header = json!({ "alg": name }).to_string();
        table.token(format!("alg {name:?}"), Some("algorithm"), &signed(&header, &claims, sign));
    }
}

fn api_keys(fixture: &Fixture, table: &mut Table) {
    let (key, id) = (fixture.api_key.key.expose(), &fixture.api_key.id);
    let secret = &key[key.len() - 43..];
    let swapped =
        |text: &str| if text.starts_with('x') { text.replacen('x', "y", 1) } else { format!("x{}", &text[1..]) };
    for (name, key, reason) in [
        ("another secret", format!("rsk_{id}_{}", "A".repeat(43)), "api_key"),
        ("a secret with another letter", format!("rsk_{id}_{}", swapped(secret)), "api_key"),
        ("another id", format!("rsk_{}_{secret}", swapped(id)), "api_key"),
        ("the hash as the secret", format!("rsk_{id}_{}", &fixture.api_key.hash[7..50]), "api_key"),
        ("an unknown id", format!("rsk_unknown_{secret}"), "api_key"),
        ("half a secret", format!("rsk_{id}_{}", &secret[..20]), "malformed"),
        ("a longer secret", format!("{key}x"), "malformed"),
        ("no secret", format!("rsk_{id}_"), "malformed"),
        ("no id", format!("rsk__{secret}"), "malformed"),
        ("only the beginning", "rsk_".to_owned(), "malformed"),
        ("another id before it", format!("rsk_x_{id}_{secret}"), "malformed"),
        ("SQL as the id", format!("rsk_'OR'1'='1_{secret}"), "malformed"),
        ("a path as the id", format!("rsk_..%2f..%2f_{secret}"), "malformed"),
    ] {
        table.header(format!("API key: {name}"), Some(reason), &[("x-api-key", &key)]);
        table.token(format!("API key as a bearer: {name}"), Some(reason), &key);
    }
    // Announced otherwise it is taken for a token, and is none.
    table.token("API key: capitals", Some("malformed"), &key.replacen("rsk", "RSK", 1));
}
