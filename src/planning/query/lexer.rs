//! Text → tokens, each with its place.

use super::QueryError;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `(`
    Open,
    /// `)`
    Close,
    /// `[`
    OpenList,
    /// `]`
    CloseList,
    /// `,`
    Comma,
    /// `!` alone, before `(`, `in` or `exists`.
    Bang,
    /// `==`, `&&` and the like.
    Symbol(&'static str),
    /// A bare word: a subject, an operator in words, a value.
    Word(String),
    /// A value in quotes.
    Quoted(String),
}

/// Longer ones first, so that `>=` isn't read as `>`.
const SYMBOLS: [&str; 10] = ["==", "!=", ">=", "<=", "=~", "!~", "&&", "||", ">", "<"];

/// Splits an expression; places are in characters, from 1 on.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, QueryError> {
    let letters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(letter) = letters.get(at).copied() {
        let start = at;
        if letter.is_whitespace() {
            at += 1;
            continue;
        }
        let bare_pattern =
            if tokens.last().is_some_and(|(token, _)| asks_for_pattern(token)) { pattern(&letters[at..]) } else { 0 };
        let token = if bare_pattern > 0 {
            at += bare_pattern;
            Token::Word(letters[start..at].iter().collect())
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| begins_with(&letters[at..], symbol)) {
            at += symbol.len();
            Token::Symbol(symbol)
        } else if letter == '\'' || letter == '"' {
            let length = letters[at + 1..].iter().position(|next| *next == letter).ok_or_else(|| QueryError {
                position: start + 1,
                sentence: format!("the quote {letter} is not closed"),
            })?;
            at += length + 2;
            Token::Quoted(letters[start + 1..start + 1 + length].iter().collect())
        } else if let Some(token) = single(letter) {
            at += 1;
            token
        } else {
            while letters.get(at).is_some_and(|letter| is_of_word(*letter)) {
                at += 1;
            }
            if at == start {
                let sentence = format!("{letter:?} has no meaning here");
                return Err(QueryError { position: start + 1, sentence });
            }
            Token::Word(letters[start..at].iter().collect())
        };
        tokens.push((token, start + 1));
    }
    Ok(tokens)
}

fn asks_for_pattern(token: &Token) -> bool {
    match token {
        Token::Symbol(symbol) => ["=~", "!~"].contains(symbol),
        Token::Word(word) => ["matches", "not_matches"].contains(&word.as_str()),
        _ => false,
    }
}

/// The length of a pattern without quotes: up to a blank, or to a `)` that closes a group of the query's.
fn pattern(letters: &[char]) -> usize {
    if letters.first().is_some_and(|letter| "'\"".contains(*letter)) {
        return 0;
    }
    let mut open = 0_usize;
    let ends = |letter: &char| {
        open += usize::from(*letter == '(');
        let is_closing = *letter == ')' && open == 0;
        open = open.saturating_sub(usize::from(*letter == ')'));
        letter.is_whitespace() || is_closing
    };
    letters.iter().position(ends).unwrap_or(letters.len())
}

fn single(letter: char) -> Option<Token> {
    match letter {
        '(' => Some(Token::Open),
        ')' => Some(Token::Close),
        '[' => Some(Token::OpenList),
        ']' => Some(Token::CloseList),
        ',' => Some(Token::Comma),
        '!' => Some(Token::Bang),
        _ => None,
    }
}

/// Bare words hold whatever isn't a token of its own: names, numbers, dates.
fn is_of_word(letter: char) -> bool {
    !letter.is_whitespace() && !"()[],'\"!=<>&|".contains(letter)
}

fn begins_with(letters: &[char], symbol: &str) -> bool {
    symbol.chars().enumerate().all(|(index, letter)| letters.get(index) == Some(&letter))
}
