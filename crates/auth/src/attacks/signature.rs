//! Signatures that are not the issuer's, or not of this.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PSS_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Fixture, ISSUER, OCT, Table, b64, claims, hmac_with, rsa_sign, signed, spki};

/// The order of P-256.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// The order of Ed25519's group, least byte first.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

pub(super) fn attack(fixture: &Fixture, table: &mut Table) {
    none(fixture, table);
    confusion(fixture, table);
    strangers(fixture, table);
    key_ids(fixture, table);
    hmac_and_rsa(fixture, table);
    curves(fixture, table);
}

/// No signature at all.
fn none(fixture: &Fixture, table: &mut Table) {
    let claims = claims().to_string();
    for name in ["none", "None", "NONE", "nOnE", "none ", "nоne", "null", "undefined"] {
        let header = json!({ "alg": name, "typ": "JWT" }).to_string();
        let message = format!("{}.{}", b64(&header), b64(&claims));
        table.token(format!("alg {name:?}, no signature"), Some("malformed"), &format!("{message}."));
        table.token(format!("alg {name:?}, some signature"), Some("algorithm"), &format!("{message}.AAAA"));
        let sign = |message: &[u8]| hmac_with(fixture.secret.as_bytes(), message);
        table.token(format!("alg {name:?}, a genuine HMAC"), Some("algorithm"), &signed(&header, &claims, sign));
    }
}

/// Public things as the secret of an HMAC.
fn confusion(fixture: &Fixture, table: &mut Table) {
    let der = spki(&fixture.rsa);
    let lines: Vec<String> =
        STANDARD.encode(&der).as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
    let components = aws_lc_rs::rsa::PublicKeyComponents::<Vec<u8>>::from(fixture.rsa.public_key());
    let secrets: [(&str, Vec<u8>); 18] = [
        ("the RSA key as DER", der),
        ("the RSA key as PKCS #1", fixture.rsa.public_key().as_ref().to_vec()),
        ("the RSA key as PEM", pem.clone().into_bytes()),
        ("the RSA key as PEM with a line end", format!("{pem}\n").into_bytes()),
        ("the RSA key as JWK", fixture.rsa_jwk("rsa-1").to_string().into_bytes()),
        ("the RSA modulus", components.n.clone()),
        ("the RSA modulus in base64", b64(components.n).into_bytes()),
        ("the EC point", fixture.ec.point()),
        ("the EC point's x", fixture.ec.point()[1..33].to_vec()),
        ("the Ed25519 key", fixture.ed.public_key().as_ref().to_vec()),
        ("the key set", fixture.jwks().into_bytes()),
        ("the published symmetric key", OCT.to_vec()),
        ("nothing", Vec::new()),
        ("a zero byte", vec![0]),
        ("a guess", b"secret".to_vec()),
        ("the issuer", ISSUER.as_bytes().to_vec()),
        ("half the secret", fixture.secret.as_bytes()[..20].to_vec()),
        ("the secret and a line end", format!("{}\n", fixture.secret).into_bytes()),
    ];
    let claims = claims().to_string();
    for (name, secret) in secrets {
        for header in [json!({ "alg": "HS256" }), json!({ "alg": "HS256", "kid": "rsa-1" })] {
            let token = signed(&header.to_string(), &claims, |message| hmac_with(&secret, message));
            table.token(format!("HMAC with {name}, {header}"), Some("signature"), &token);
        }
        let header = json!({ "alg": "RS256", "kid": "rsa-1" });
        let token = signed(&header.to_string(), &claims, |message| hmac_with(&secret, message));
        table.token(format!("HMAC with {name} as RS256"), Some("signature"), &token);
    }
}

/// A stranger's keys, sent along or named.
fn strangers(fixture: &Fixture, table: &mut Table) {
    let public = aws_lc_rs::rsa::PublicKeyComponents::<Vec<u8>>::from(fixture.strange_rsa.public_key());
    let jwk = json!({ "kty": "RSA", "kid": "rsa-1", "alg": "RS256", "n": b64(public.n), "e": b64(public.e) });
    let certificate = STANDARD.encode(spki(&fixture.strange_rsa));
    let claims = claims().to_string();
    for (name, extra) in [
        ("nothing", json!({})),
        ("jwk", json!({ "jwk": jwk })),
        ("jku", json!({ "jku": "https://evil.example/jwks" })),
        ("x5u", json!({ "x5u": "https://evil.example/cert" })),
        ("x5c", json!({ "x5c": [certificate] })),
        ("x5t", json!({ "x5t": b64(b"01234567890123456789") })),
    ] {
        for (kid, reason) in
            [(json!("rsa-1"), "signature"), (json!("stranger"), "unknown_key"), (Value::Null, "signature")]
        {
            let mut header = json!({ "alg": "RS256", "kid": kid });
            if let (Value::Object(header), Value::Object(extra)) = (&mut header, extra.clone()) {
                header.extend(extra);
                header.retain(|_, value| !value.is_null());
            }
            let sign = |message: &[u8]| rsa_sign(&fixture.strange_rsa, &RSA_PKCS1_SHA256, message);
            let token = signed(&header.to_string(), &claims, sign);
            table.token(format!("a stranger's RSA key with {name}, kid {kid}"), Some(reason), &token);
        }
    }
    let point = fixture.strange_ec.point();
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]) });
    let header = json!({ "alg": "ES256", "kid": "ec-1", "jwk": jwk }).to_string();
    let token = signed(&header, &claims, |message| fixture.strange_ec.sign(message));
    table.token("a stranger's EC key with jwk", Some("signature"), &token);
}

/// Key ids that lead elsewhere, or to a key of another kind.
fn key_ids(fixture: &Fixture, table: &mut Table) {
    let claims = claims();
    for (alg, kid) in [
        ("RS256", "unheard-of"),
        ("RS256", "ec-1"),
        ("RS256", "oct-1"),
        ("RS256", "rsa-enc"),
        ("RS256", "RSA-1"),
        ("RS256", "rsa-1 "),
        ("RS256", "rsa-1\u{0}"),
        ("RS256", "../../../../dev/null"),
        ("RS256", "' UNION SELECT 'key' --"),
        ("RS256", "http://evil.example/key.pem"),
        ("RS256", "| cat /etc/passwd"),
        ("ES256", "rsa-1"),
        ("ES256", "ed-1"),
        ("EdDSA", "ec-1"),
    ] {
        let header = json!({ "alg": alg, "kid": kid });
        let token = fixture.signed_as_named(&header, &claims);
        table.token(format!("{alg} with the kid {kid:?}"), Some("unknown_key"), &token);
    }
    for (kid, secret) in [("../../../../dev/null", &b""[..]), ("' UNION SELECT 'x' --", b"x"), ("oct-1", OCT)] {
        let header = json!({ "alg": "HS256", "kid": kid }).to_string();
        let token = signed(&header, &claims.to_string(), |message| hmac_with(secret, message));
        table.token(format!("HS256 with the kid {kid:?}"), Some("signature"), &token);
    }
}

fn hmac_and_rsa(fixture: &Fixture, table: &mut Table) {
    let claims = claims();
    let tokens = [
        ("HS256", fixture.hs256(&json!({ "alg": "HS256" }), &claims)),
        ("RS256", fixture.signed_as_named(&json!({ "alg": "RS256", "kid": "rsa-1" }), &claims)),
        ("ES256", fixture.signed_as_named(&json!({ "alg": "ES256", "kid": "ec-1" }), &claims)),
        ("EdDSA", fixture.signed_as_named(&json!({ "alg": "EdDSA", "kid": "ed-1" }), &claims)),
    ];
    for (name, token) in &tokens {
        let Some((message, signature)) = token.rsplit_once('.') else { continue };
        let length = signature.len();
        let (half, four) = (&signature[..length / 8 * 4], &signature[..length - length % 4 - 4]);
        let mut other = claims.clone();
        other["tenant"] = json!("victim");
        let header = message.split('.').next().unwrap_or_default();
        for (what, changed) in [
            ("half a signature", format!("{message}.{half}")),
            ("a shorter signature", format!("{message}.{four}")),
            ("one byte of signature", format!("{message}.AA")),
            ("a longer signature", format!("{message}.AAAA{signature}")),
            ("a signature of zeros", format!("{message}.{}", "A".repeat(length))),
            ("other claims", format!("{header}.{}.{signature}", b64(other.to_string()))),
        ] {
            table.token(format!("{name}: {what}"), Some("signature"), &changed);
        }
        table.token(format!("{name}: an empty signature"), Some("malformed"), &format!("{message}."));
        for (alg, kid) in [("HS256", "x"), ("RS256", "rsa-1"), ("ES256", "ec-1"), ("EdDSA", "ed-1")] {
            if alg != *name {
                let header = b64(json!({ "alg": alg, "kid": kid }).to_string());
                let token = format!("{header}.{}.{signature}", b64(claims.to_string()));
                table.token(format!("{name}'s signature as {alg}"), Some("signature"), &token);
            }
        }
    }
    let header = json!({ "alg": "RS256", "kid": "rsa-1" }).to_string();
    let payload = claims.to_string();
    let pss = signed(&header, &payload, |message| rsa_sign(&fixture.rsa, &RSA_PSS_SHA256, message));
    table.token("PSS as RS256", Some("signature"), &pss);
    let sha384 = signed(&header, &payload, |message| rsa_sign(&fixture.rsa, &RSA_PKCS1_SHA384, message));
    table.token("SHA-384 as RS256", Some("signature"), &sha384);
    for alg in ["PS256", "RS384", "ES384"] {
        let header = json!({ "alg": alg, "kid": "rsa-1" }).to_string();
        let token = signed(&header, &payload, |message| rsa_sign(&fixture.rsa, &RSA_PKCS1_SHA256, message));
        table.token(format!("{alg}, which is not allowed"), Some("algorithm"), &token);
    }
    let one = signed(&header, &payload, |_| [vec![0; 255], vec![1]].concat());
    table.token("the RSA signature 1", Some("signature"), &one);
    let all = signed(&header, &payload, |_| vec![0xff; 256]);
    table.token("an RSA signature over the modulus", Some("signature"), &all);
}

fn curves(fixture: &Fixture, table: &mut Table) {
    let header = json!({ "alg": "ES256", "kid": "ec-1" }).to_string();
    let payload = claims().to_string();
    let one = {
        let mut one = [0; 32];
        one[31] = 1;
        one
    };
    for (name, r, s) in [
        ("r and s zero", [0; 32], [0; 32]),
        ("r zero", [0; 32], one),
        ("s zero", one, [0; 32]),
        ("r and s one", one, one),
        ("r and s the order", N, N),
        ("r the order, s zero", N, [0; 32]),
        ("r and s all ones", [0xff; 32], [0xff; 32]),
    ] {
        let token = signed(&header, &payload, |_| [r, s].concat());
        table.token(format!("ES256: {name}"), Some("signature"), &token);
    }
    let der = signed(&header, &payload, |message| {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &fixture.ec.0).unwrap();
        key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    });
    table.token("ES256: the signature as DER", Some("signature"), &der);
    let null = signed(&header, &payload, |_| vec![0x30, 6, 2, 1, 0, 2, 1, 0]);
    table.token("ES256: zeros as DER", Some("signature"), &null);
    let p384 = signed(&header, &payload, |message| {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    });
    table.token("ES256 signed on P-384", Some("signature"), &p384);
    let header = json!({ "alg": "EdDSA", "kid": "ed-1" }).to_string();
    let beyond = signed(&header, &payload, |message| {
        let mut signature = fixture.ed.sign(message).as_ref().to_vec();
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
        signature
    });
    table.token("EdDSA: s beyond the order", Some("signature"), &beyond);
    let identity = signed(&header, &payload, |_| [[1].as_slice(), &[0; 63]].concat());
    table.token("EdDSA: the neutral point", Some("signature"), &identity);
}
