//! Check digits: what tells an account or card number from any other number.

/// Lengths of IBANs by country; those of other countries are not known and end where the number does.
const IBAN_LENGTHS: [(&str, usize); 44] = [
    ("AD", 24),
    ("AE", 23),
    ("AT", 20),
    ("BE", 16),
    ("BG", 22),
    ("BR", 29),
    ("CH", 21),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DK", 18),
    ("EE", 20),
    ("ES", 24),
    ("FI", 18),
    ("FR", 27),
    ("GB", 22),
    ("GI", 23),
    ("GR", 27),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IS", 26),
    ("IT", 27),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("MC", 27),
    ("MT", 31),
    ("NL", 18),
    ("NO", 15),
    ("PL", 28),
    ("PT", 25),
    ("RO", 24),
    ("RS", 22),
    ("SA", 24),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("TR", 26),
    ("UA", 29),
    ("XK", 20),
];

/// How many bytes of `piece`, from its beginning, are an IBAN whose check digits are right.
pub(super) fn iban(piece: &str) -> Option<usize> {
    let country = piece.get(..2)?.to_ascii_uppercase();
    let whole = piece.bytes().filter(u8::is_ascii_alphanumeric).count();
    let known = IBAN_LENGTHS.iter().find(|(code, _)| *code == country).map(|(_, length)| *length);
    let length = known.unwrap_or(whole);
    let last =
        piece.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric()).nth(length.checked_sub(1)?)?.0;
    let number: Vec<u8> = piece[..=last].bytes().filter(u8::is_ascii_alphanumeric).collect();
    let (head, rest) = number.split_at_checked(4)?;
    let remainder = rest.iter().chain(head).try_fold(0_u32, |remainder, byte| {
        let value = char::from(*byte).to_digit(36)?;
        Some((remainder * if value > 9 { 100 } else { 10 } + value) % 97)
    });
    (remainder == Some(1)).then_some(last + 1)
}

/// Whether the digits of `piece` are a card number: an issuer's first digits and length, and the check digit of Luhn.
pub(super) fn is_card(piece: &str) -> bool {
    let digits: Vec<u32> = piece.chars().filter_map(|c| c.to_digit(10)).collect();
    let first = |count: usize| digits.iter().take(count).fold(0, |number, digit| number * 10 + digit);
    let lengths = match (first(1), first(2), first(4)) {
        (4, ..) => 13..=19,
        (_, 34 | 37, _) => 15..=15,
        (_, 36 | 38 | 39 | 30, _) => 14..=19,
        (_, 35, _) => 16..=19,
        (_, 51..=55, _) | (.., 2221..=2720) => 16..=16,
        (_, 50 | 56..=69, _) => 13..=19,
        _ => return false,
    };
    let doubled = |(place, digit): (usize, &u32)| match (place % 2, digit * 2) {
        (0, _) => *digit,
        (_, twice) if twice > 9 => twice - 9,
        (_, twice) => twice,
    };
    lengths.contains(&digits.len()) && digits.iter().rev().enumerate().map(doubled).sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ibans_end_where_their_country_says() {
        assert_eq!(iban("DE89 3704 0044 0532 0130 00 PLEASE"), Some(27));
        assert_eq!(iban("NO9386011117947"), Some(15));
        assert_eq!(iban("MU17BOMM0101101030300200000MUR"), Some(30));
        assert_eq!(iban("MT84MALT011000012345MTLCAST001S"), Some(31));
        for wrong in ["DE88370400440532013000", "DE89", "", "DE8937040044053201300"] {
            assert_eq!(iban(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn cards_have_an_issuer_a_length_and_a_check_digit() {
        for card in [
            "4111111111111111",
            "4222222222222",
            "5555 5555 5555 4444",
            "2223003122003222",
            "6011-1111-1111-1117",
            "30569309025904",
        ] {
            assert!(is_card(card), "{card}");
        }
        for other in ["4111111111111112", "1234567812345670", "41111111111111", "0000000000000000"] {
            assert!(!is_card(other), "{other}");
        }
    }
}
