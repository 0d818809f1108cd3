//! Genuine signatures over claims that must not be accepted.

use serde_json::{Value, json};

use super::{AUDIENCE, Fixture, ISSUER, Table, claims, hmac_with, now, signed};

pub(super) fn attack(fixture: &Fixture, table: &mut Table) {
    let now = now();
    let times = [
        (json!(null), "claims"),
        (json!((now + 60).to_string()), "claims"),
        (json!(now as f64 + 60.5), "claims"),
        (json!(-1), "claims"),
        (json!(u64::MAX), "claims"),
        (json!(1e300), "claims"),
        (json!(true), "claims"),
        (json!([now + 60]), "claims"),
        (json!({ "exp": now + 60 }), "claims"),
    ];
    for (value, reason) in times.iter().cloned().chain([(json!(now - 31), "expired"), (json!(0), "expired")]) {
        change(fixture, table, "exp", value, reason);
    }
    for name in ["nbf", "iat"] {
        change(fixture, table, name, json!(now + 3000), "not_yet_valid");
        for (value, reason) in &times {
            change(fixture, table, name, value.clone(), reason);
        }
    }
    for value in [
        json!(null),
        json!("https://evil.example/"),
        json!(ISSUER.trim_end_matches('/')),
        json!(format!("{ISSUER}.evil.example")),
        json!(ISSUER.to_uppercase()),
        json!([ISSUER]),
        json!(1),
        json!(""),
    ] {
        change(fixture, table, "iss", value, "issuer");
    }
    for value in [
        json!(null),
        json!("somebody-else"),
        json!(&AUDIENCE[1..]),
        json!(format!("{AUDIENCE} ")),
        json!(format!("x,{AUDIENCE}")),
        json!([]),
        json!(["x", "y"]),
        json!([AUDIENCE, 1]),
        json!([[AUDIENCE]]),
        json!({ AUDIENCE: true }),
        json!(0),
        json!(""),
    ] {
        change(fixture, table, "aud", value, "audience");
    }
    identity(fixture, table);
    duplicates(fixture, table);
    payloads(fixture, table);
}

/// Who it says it is, and what it may do.
fn identity(fixture: &Fixture, table: &mut Table) {
    for value in [
        json!(null),
        json!(""),
        json!(" "),
        json!(" acme"),
        json!("acme\n"),
        json!("ac\u{0}me"),
        json!("ac\u{7f}me"),
        json!("a".repeat(600)),
        json!(["acme"]),
        json!({ "$ne": "" }),
        json!(7),
        json!(true),
    ] {
        change(fixture, table, "tenant", value, "claims");
    }
    for value in [json!(null), json!(""), json!(7), json!(["user"]), json!("a\r\nb"), json!("a".repeat(600))] {
        change(fixture, table, "sub", value, "claims");
    }
    for value in [json!(1), json!(["admin", 1]), json!({ "admin": true }), json!(true)] {
        change(fixture, table, "scope", value, "claims");
    }
    for value in [json!("staff"), json!([["staff"]]), json!([1]), json!([""]), json!({ "staff": 1 }), json!(["a\u{0}"])]
    {
        change(fixture, table, "groups", value, "claims");
    }
}

/// The same claim twice: what another program read need not be what this one does.
fn duplicates(fixture: &Fixture, table: &mut Table) {
    let plain = claims().to_string();
    for (name, extra) in [
        ("tenant twice", r#""tenant":"victim""#),
        ("tenant twice, once escaped", r#""\u0074enant":"victim""#),
        ("exp twice", r#""exp":99999999999"#),
        ("a nested claim twice", r#""x":{"a":1,"a":2}"#),
    ] {
        raw(fixture, table, name, &plain.replacen('{', &format!("{{{extra},"), 1), "malformed");
    }
}

/// Payloads that are no claims.
fn payloads(fixture: &Fixture, table: &mut Table) {
    let plain = claims().to_string();
    let inner = fixture.token("acme", "query");
    for (name, payload) in [
        ("no payload", String::new()),
        ("a list of claims", format!("[{plain}]")),
        ("a text as claims", format!("{plain:?}")),
        ("null as claims", "null".to_owned()),
        ("claims and more claims", format!("{plain}{plain}")),
        ("claims and garbage", format!("{plain}\u{0}")),
        ("a byte order mark", format!("\u{feff}{plain}")),
        ("a comment", plain.replacen('{', "{/**/", 1)),
        ("single quotes", plain.replace('"', "'")),
        ("an open end", plain.trim_end_matches('}').to_owned()),
        ("a number beyond numbers", plain.replacen('{', "{\"x\":1e999,", 1)),
        ("deep nesting", format!("{}{}", "[".repeat(2000), "]".repeat(2000))),
        ("a token in a token", inner),
    ] {
        raw(fixture, table, name, &payload, "malformed");
    }
}

fn change(fixture: &Fixture, table: &mut Table, claim: &str, value: Value, reason: &'static str) {
    let mut claims = claims();
    let name = format!("{claim}: {}", value.to_string().chars().take(60).collect::<String>());
    // `null` stands for no such claim at all, except for times, where both are tried.
    match (value.is_null(), claims.as_object_mut()) {
        (true, Some(object)) if !["nbf", "iat"].contains(&claim) => drop(object.remove(claim)),
        _ => claims[claim] = value,
    }
    let header = json!({ "alg": "RS256", "kid": "rsa-1" });
    table.token(name.clone(), Some(reason), &fixture.signed_as_named(&header, &claims));
    if claim == "exp" || claim == "tenant" {
        let token = fixture.hs256(&json!({ "alg": "HS256" }), &claims);
        table.token(format!("{name}, HS256"), Some(reason), &token);
    }
}

fn raw(fixture: &Fixture, table: &mut Table, name: &str, payload: &str, reason: &'static str) {
    let sign = |message: &[u8]| hmac_with(fixture.secret.as_bytes(), message);
    table.token(name, Some(reason), &signed(r#"{"alg":"HS256"}"#, payload, sign));
}
