//! Which language a text is in.

/// How many characters are looked at in each of two places: more does not make the answer surer, only slower.
const SAMPLE_CHARS: usize = 2000;

/// The ISO 639-3 code of the language of `text`, when it is reliably known. Reads a sample from the beginning and one
/// from the middle, so the cost does not grow with the text.
#[must_use]
pub fn detect(text: &str) -> Option<&'static str> {
    let middle = text.ceil_char_boundary(text.len() / 2);
    let mut sample: String = text.chars().take(SAMPLE_CHARS).collect();
    if sample.len() < middle {
        sample.push('\n');
        sample.extend(text[middle..].chars().take(SAMPLE_CHARS));
    }
    whatlang::detect(&sample).filter(whatlang::Info::is_reliable).map(|info| info.lang().code())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str = "The lighthouse keeper wrote every evening about the weather, the ships that passed and the \
        birds that rested on the railing before they went on to the south.";
    const GERMAN: &str = "Der Leuchtturmwärter schrieb jeden Abend über das Wetter, über die vorbeifahrenden Schiffe \
        und über die Vögel, die auf dem Geländer rasteten, bevor sie weiter nach Süden zogen.";
    const FRENCH: &str = "Le gardien du phare écrivait chaque soir sur le temps qu'il faisait, sur les navires qui \
        passaient et sur les oiseaux qui se reposaient avant de repartir vers le sud.";

    #[test]
    fn names_the_language_of_a_paragraph() {
        assert_eq!(detect(ENGLISH), Some("eng"));
        assert_eq!(detect(GERMAN), Some("deu"));
        assert_eq!(detect(FRENCH), Some("fra"));
        assert_eq!(detect(&GERMAN.repeat(2000)), Some("deu"));
    }

    #[test]
    fn says_nothing_when_it_cannot_know() {
        assert_eq!(detect(""), None);
        assert_eq!(detect("12345 67890 !?"), None);
        assert_eq!(detect("ok"), None);
    }
}
