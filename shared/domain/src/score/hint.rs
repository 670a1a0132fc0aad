//! "Did you mean": the known word that is nearest to an unknown one.

/// The longest word that gets a hint, and the most words that are tried: a file made of slips must not cost minutes.
const LONGEST_WORD: usize = 64;
const MOST_WORDS: usize = 200;

/// What to append to a message about `word`: the nearest of `known`, or nothing if none is near.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let length = word.chars().count();
    if length > LONGEST_WORD {
        return String::new();
    }
    // Two slips are a typing error; in a short word, two slips are another word.
    let limit = if length < 4 { 1 } else { 2 };
    known
        .into_iter()
        .take(MOST_WORDS)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}

/// How many characters must be inserted, removed or replaced to make `right` of `left`; case counts for nothing.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, left_char) in left.to_lowercase().chars().enumerate() {
        let mut next = vec![index + 1];
        let mut last = index + 1;
        for (right_char, pair) in right.iter().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            let replaced = diagonal + usize::from(left_char != *right_char);
            last = replaced.min(above + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn the_nearest_known_word_is_offered() {
        let check = |word: &str, expect: &str| {
            let known = ["type", "class", "params", "dependsOn"];
            assert_eq!(did_you_mean(word, known), expect, "{word}");
        };
        check("param", "; did you mean `params`?");
        check("parmas", "; did you mean `params`?");
        check("dependson", "; did you mean `dependsOn`?");
        check("tpe", "; did you mean `type`?");
        check("replicas", "");
        check("", "");
    }
}
