//! Tests of the filter of links.

use super::*;
use proptest::prelude::*;

const KNOWN: &str = "https://source.example/page?id=7";

fn filter() -> LinkFilter {
    let allowed = Allowed {
        link_hosts: vec!["docs.example".to_owned()],
        image_hosts: vec!["img.example".to_owned()],
        known: [KNOWN.to_owned()].into(),
    };
    let config = GuardConfig::default();
    LinkFilter { allowed, ..LinkFilter::new(&config, &[]) }
}

fn whole(text: &str) -> String {
    let mut filter = filter();
    let begun = filter.push(text);
    begun + &filter.finish()
}

#[test]
fn what_is_allowed_and_plain_text_stay() {
    for text in [
        "The tram opened in 1901 [1]. It costs 2:30 [2][3], a/b, C:\\dir, a[7] and (x).",
        "See [the page](https://source.example/page?id=7 \"Title\") or https://docs.example/a_(b).",
        "![plan](https://img.example/plan.png)",
        "[![plan](https://img.example/p.png)](https://docs.example/x)",
        "if a < b and c > d then <b>bold</b> std::vec<T> x</y",
        "Ends with a word",
        "# Title\n\n- item!\n\n[1]: the first source says so",
        "“Grüße”, 東京は首都です。",
        "`let x = a as u8;` // a comment, handlers[0](event), [y](/v1/me), <img>, </a>",
        "[1]: 12:30 the train left; [2]: note: x",
        "",
    ] {
        assert_eq!(whole(text), text);
    }
}

#[test]
fn other_links_and_images_become_plain_text() {
    for (text, expected) in [
        ("a https://evil.example/?d=x b", "a (link removed) b"),
        ("(www.evil.example).", "((link removed))."),
        ("<https://evil.example>", "<(link removed)>"),
        ("[go](https://evil.example)!", "[go] (link removed)!"),
        ("![x](https://docs.example/p.png?d=secret) y", "![x] (link removed) y"),
        ("![x](//evil.example/p) ![y](/v1/me)", "![x] (link removed) ![y] (link removed)"),
        ("[z](javascript:a()) [z](/\\evil.example)", "[z] (link removed) [z] (link removed)"),
        ("[z](&#104;ttps://evil.example)", "[z] (link removed)"),
        ("[x](https://evil.example)(javascript:a())", "[x] (link removed)(javascript:a())"),
        ("![x]( https://evil.example/a 'b' )", "![x] (link removed)"),
        ("![x](https://img.example\\@evil.example/)", "![x] (link removed)"),
        ("![x](https://img.example/ \"](https://evil.example)\")", "![x] (link removed)"),
        (
            "![x][r]\n\n[r]: https://img.example/a\n[s]: //evil.example",
            "![x][r]\n\n[r]: (link removed)\n[s]: (link removed)",
        ),
        ("[r]: javascript:alert(1) [s]: &#106;avascript:a", "[r]: (link removed) [s]: (link removed)"),
        ("[r]:\n<https://docs.example/a>", "[r]:\n<(link removed)>"),
        ("<img src=//evil.example/x> <IMG/src='x'>z", "(link removed) src=//evil.example/x> (link removed)/src='x'>z"),
        ("<a href=\"https://evil.example\">go</a>", "(link removed) href=\"(link removed)\">go</a>"),
        ("https://source.example/page?id=7&d=secret", "(link removed)"),
        ("HTTPS:\\\\evil.example x ftp://evil.example", "(link removed) x (link removed)"),
        ("unfinished [x](https://docs.exam", "unfinished [x] ((link removed)"),
        ("unfinished https://evil.exam", "unfinished (link removed)"),
    ] {
        assert_eq!(whole(text), expected, "{text}");
    }
}

#[test]
fn an_allowed_link_is_no_allowed_image() {
    assert_eq!(whole("![x](https://source.example/page?id=7)"), "![x] (link removed)");
    assert_eq!(whole("[x](https://source.example/page?id=7)"), "[x](https://source.example/page?id=7)");
}

#[test]
fn an_image_that_never_came_is_forgotten_with_its_paragraph() {
    assert_eq!(whole("![x\n[y](https://docs.example)"), "![x\n[y] (link removed)");
    assert_eq!(whole("![x\n\n[y](https://docs.example)"), "![x\n\n[y](https://docs.example)");
}

#[test]
fn little_is_held_back() {
    let mut filter = filter();
    assert_eq!(filter.push("Plain words "), "Plain words ");
    for _ in 0..200 {
        filter.push("![");
        filter.push(&"https://evil.example/".repeat(20));
        filter.push(&"](".repeat(50));
        assert!(filter.held.len() <= LONGEST + 500, "{}", filter.held.len());
    }
}

#[test]
fn what_went_is_counted_and_a_restart_forgets() {
    let mut filter = filter();
    filter.push("https://evil.example ![x](https://evil.example) half [x](htt");
    assert_eq!(filter.removed(), 2);
    filter.restart();
    assert_eq!((filter.push("fresh "), filter.removed()), ("fresh ".to_owned(), 0));
}

fn pieces() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "![",
        "[",
        "](",
        "]",
        ")",
        "(",
        "<",
        ">",
        "<img ",
        "<a href=",
        "https://",
        "http",
        "://",
        "www.",
        "evil.example",
        "docs.example/x",
        "img.example/y",
        "https://source.example/page?id=7",
        ":",
        "/",
        "\\",
        "\n",
        "\n\n",
        " ",
        "word",
        "é",
        "東京。",
        "?d=",
        "\"",
        "javascript:",
        "]:",
        "!",
        ".",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ]);
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cutting_gives_the_same_text(text in pieces(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let mut places: Vec<_> = cuts.iter().map(|cut| text.floor_char_boundary(cut.index(text.len() + 1))).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let mut filter = filter();
        let mut streamed: String = places.windows(2).map(|pair| filter.push(&text[pair[0]..pair[1]])).collect();
        streamed.push_str(&filter.finish());
        prop_assert_eq!(streamed, whole(&text));
    }

    #[test]
    fn no_foreign_address_is_left(text in pieces()) {
        let filtered = whole(&text).to_lowercase();
        for address in ["](//", "](\\", "](javascript:", "<img ", "<a href="] {
            prop_assert!(!filtered.contains(address), "{} in {:?} from {:?}", address, filtered, text);
        }
        let allowed = filter().allowed;
        for address in super::super::hosts::addresses(&filtered) {
            prop_assert!(allowed.link(address) || allowed.image(address), "{} in {:?} from {:?}", address, filtered, text);
        }
    }
}
