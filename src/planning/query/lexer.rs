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
        let token = if let Some(symbol) = SYMBOLS.iter().find(|symbol| begins_with(&letters[at..], symbol)) {
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

/// Bare words hold whatever isn't a token of its own: names, numbers, dates, and patterns without brackets.
fn is_of_word(letter: char) -> bool {
    !letter.is_whitespace() && !"()[],'\"!=<>&|".contains(letter)
}

fn begins_with(letters: &[char], symbol: &str) -> bool {
    symbol.chars().enumerate().all(|(index, letter)| letters.get(index) == Some(&letter))
}
