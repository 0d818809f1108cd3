//! What kind of answer a question word asks for; a weak hint, in English, German and French, and harmless elsewhere.

use super::words::{Word, words};

/// The kind of thing that answers a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A point in time.
    Date,
    /// A quantity.
    Number,
    /// A person, place or thing with a name.
    Name,
    /// Nothing in particular.
    Anything,
}

// Question phrases and words, separated by `|`, in lower case.
const DATE: &str = "\
    when|what year|which year|what date|what day|what month|what century|which century|what decade|wann|\
    welchem jahr|welches jahr|seit wann|welchem jahrhundert|quand|quelle année|quelle date|quel siècle";
const NUMBER: &str = "\
    how many|how much|how long|how old|how far|how high|how tall|how large|how big|how often|how fast|\
    what percentage|what percent|what number|how wide|how deep|wie viele|wie viel|wieviele|wieviel|wie lange|\
    wie alt|wie hoch|wie groß|wie weit|wie oft|combien|quel pourcentage|quelle distance|quel âge|quel nombre";
const NAME: &str = "\
    who|whom|whose|where|what city|which city|what country|which country|what company|what person|what team|\
    which team|what river|wer|wen|wem|wessen|wo|woher|wohin|welche stadt|welches land|qui|où|quelle ville|quel pays";
const MONTHS: &str = "\
    january|february|march|april|june|july|august|september|october|november|december|januar|februar|märz|mai|juni|\
    juli|oktober|dezember|janvier|février|mars|avril|juin|juillet|août|septembre|octobre|novembre|décembre";
const NUMERALS: &str = "\
    two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|hundred|thousand|million|billion|half|third|\
    quarter|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|hundert|tausend|millionen|milliarden|hälfte|\
    deux|trois|quatre|cinq|six|sept|huit|neuf|dix|onze|douze|vingt|cent|mille|millions|milliards|moitié";

/// What the question asks for.
pub(super) fn expected(question: &str) -> Expected {
    let padded = format!(" {} ", words(question).map(|word| word.text.to_lowercase()).collect::<Vec<_>>().join(" "));
    let asks = |phrases: &str| phrases.split('|').any(|phrase| padded.contains(&format!(" {phrase} ")));
    let kinds = [(NUMBER, Expected::Number), (DATE, Expected::Date), (NAME, Expected::Name)];
    kinds.into_iter().find(|(phrases, _)| asks(phrases)).map_or(Expected::Anything, |(_, expected)| expected)
}

/// Whether a sentence holds a thing of that kind that the question does not already name. `asked` are the question's
/// stems.
pub(super) fn offers(expected: Expected, sentence: &[Word<'_>], asked: &[String]) -> bool {
    let mut news = sentence.iter().enumerate().filter(|(_, word)| !asked.contains(&word.stem));
    match expected {
        Expected::Anything => false,
        Expected::Number => news.any(|(_, word)| has_digit(word.text) || listed(NUMERALS, word.text)),
        Expected::Date => news
            .any(|(_, word)| word.text.chars().filter(char::is_ascii_digit).count() >= 3 || listed(MONTHS, word.text)),
        // The first word of a sentence is capitalised in any case.
        Expected::Name => {
            news.any(|(place, word)| place > 0 && word.text.chars().next().is_some_and(char::is_uppercase))
        }
    }
}

fn has_digit(word: &str) -> bool {
    word.chars().any(|c| c.is_numeric())
}

fn listed(list: &str, word: &str) -> bool {
    let word = word.to_lowercase();
    list.split('|').any(|listed| listed == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_ask_for_something() {
        for (question, what) in [
            ("How many shards are there?", Expected::Number),
            ("Seit wann gibt es das?", Expected::Date),
            ("In quelle année ?", Expected::Date),
            ("Who wrote it?", Expected::Name),
            ("Why?", Expected::Anything),
            ("何ですか", Expected::Anything),
        ] {
            assert_eq!(expected(question), what, "{question}");
        }
    }

    #[test]
    fn sentences_offer_what_the_question_did_not_say() {
        let offered = |what, sentence, asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|stem| (*stem).to_owned()).collect();
            offers(what, &words(sentence).collect::<Vec<_>>(), &asked)
        };
        assert!(offered(Expected::Number, "There are four.", &[]));
        assert!(!offered(Expected::Number, "There are 4.", &["4"]));
        assert!(offered(Expected::Date, "It began in March.", &[]));
        assert!(!offered(Expected::Date, "It took 12 days.", &[]));
        assert!(offered(Expected::Name, "He met Ada.", &[]));
        assert!(!offered(Expected::Name, "He met nobody.", &[]));
    }
}
