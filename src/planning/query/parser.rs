//! Tokens → query, by recursive descent: `or` of `and`s of negations of tests and groups.

use regex_lite::RegexBuilder;
use time::{
    Date, OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc3339, macros::format_description,
};

use super::{
    Comparison, LONGEST, Pattern, Query, QueryError, Subject, Test, Value,
    lexer::{Token, tokens},
    version,
};
use crate::planning::model::Timestamp;

/// Groups within groups; 2,000 characters could hold a thousand, and nobody writes more than a few.
const DEEPEST: usize = 64;
/// Of a compiled pattern, so that none eats the memory.
const PATTERN_BYTES: usize = 1 << 20;

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Query, QueryError> {
    let length = text.chars().count();
    if length > LONGEST {
        let sentence = format!("the expression has {length} characters where ECS takes {LONGEST}");
        return Err(QueryError { position: LONGEST + 1, sentence });
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, end: length + 1 };
    let query = parser.any(0)?;
    match parser.peek() {
        None => Ok(query),
        Some(_) => parser.fail("expected `and`, `or` or the end"),
    }
}

struct Parser<'a> {
    tokens: &'a [(Token, usize)],
    at: usize,
    end: usize,
}

impl Parser<'_> {
    fn any(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut query = self.all(depth)?;
        while self.takes_word_or("or", "||") {
            query = Query::Or(Box::new(query), Box::new(self.all(depth)?));
        }
        Ok(query)
    }

    fn all(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut query = self.one(depth)?;
        while self.takes_word_or("and", "&&") {
            query = Query::And(Box::new(query), Box::new(self.one(depth)?));
        }
        Ok(query)
    }

    fn one(&mut self, depth: usize) -> Result<Query, QueryError> {
        if depth > DEEPEST {
            return self.fail("the groups are nested too deeply");
        }
        if self.takes(&Token::Bang) || self.takes_word("not") {
            return Ok(Query::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.takes(&Token::Open) {
            let query = self.any(depth + 1)?;
            if !self.takes(&Token::Close) {
                return self.fail("expected `)`");
            }
            return Ok(query);
        }
        self.test()
    }

    fn test(&mut self) -> Result<Query, QueryError> {
        let subject = self.subject()?;
        let at = self.at;
        let test = self.operator(&subject)?;
        if let Some(problem) = mismatch(&subject, &test) {
            self.at = at;
            return self.fail(&problem);
        }
        Ok(Query::Test(subject, test))
    }

    fn subject(&mut self) -> Result<Subject, QueryError> {
        let Some(Token::Word(word)) = self.peek() else {
            return self.fail("expected a subject, as attribute:NAME or ec2InstanceId");
        };
        let subject = match word.as_str() {
            "agentConnected" => Subject::AgentConnected,
            "agentVersion" => Subject::AgentVersion,
            "ec2InstanceId" => Subject::Ec2InstanceId,
            "registeredAt" => Subject::RegisteredAt,
            "runningTasksCount" => Subject::RunningTasksCount,
            "task:group" => Subject::TaskGroup,
            other => match other.strip_prefix("attribute:") {
                Some("") => return self.fail("`attribute:` needs a name"),
                Some(name) => Subject::Attribute(name.to_owned()),
                None => return self.fail(&format!("`{other}` is no subject of the cluster query language")),
            },
        };
        self.at += 1;
        Ok(subject)
    }

    fn operator(&mut self, subject: &Subject) -> Result<Test, QueryError> {
        let expected = !self.takes(&Token::Bang);
        let word = match self.peek() {
            Some(Token::Symbol(symbol)) if expected => (*symbol).to_owned(),
            Some(Token::Word(word)) => word.clone(),
            _ => return self.fail("expected an operator, as == or exists"),
        };
        let operator = self.at;
        self.at += 1;
        let comparison = match (word.as_str(), expected) {
            ("exists", _) => return Ok(Test::Exists(expected)),
            ("not_exists", true) => return Ok(Test::Exists(false)),
            ("in", _) => return Ok(Test::In(expected, self.list()?)),
            ("not_in", true) => return Ok(Test::In(false, self.list()?)),
            ("=~" | "matches", true) => return Ok(Test::Matches(true, self.pattern()?)),
            ("!~" | "not_matches", true) => return Ok(Test::Matches(false, self.pattern()?)),
            ("==" | "equals", true) => Comparison::Equal,
            ("!=" | "not_equals", true) => Comparison::NotEqual,
            (">" | "greater_than", true) => Comparison::Greater,
            (">=" | "greater_than_equal", true) => Comparison::GreaterOrEqual,
            ("<" | "less_than", true) => Comparison::Less,
            ("<=" | "less_than_equal", true) => Comparison::LessOrEqual,
            (other, _) => {
                self.at = operator;
                return self.fail(&format!("`{other}` is no operator"));
            }
        };
        let place = self.at;
        let text = self.value()?;
        match typed(subject, &text) {
            Ok(value) => Ok(Test::Compare(comparison, value)),
            Err(sentence) => {
                self.at = place;
                self.fail(&sentence)
            }
        }
    }

    fn list(&mut self) -> Result<Vec<String>, QueryError> {
        if !self.takes(&Token::OpenList) {
            return self.fail("expected a list, as [a, b]");
        }
        let mut values = vec![self.value()?];
        while self.takes(&Token::Comma) {
            values.push(self.value()?);
        }
        if !self.takes(&Token::CloseList) {
            return self.fail("expected `,` or `]`");
        }
        Ok(values)
    }

    fn pattern(&mut self) -> Result<Pattern, QueryError> {
        let place = self.at;
        let text = self.value()?;
        let compile = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build().ok();
        // By itself first, or `a)|(b` would get out of the group. Java's `matches` is of the whole value.
        let regex = compile(&text)
            .filter(|_| !has_possessive_quantifier(&text))
            .and_then(|_| compile(&format!(r"\A(?:{text})\z")));
        if let Some(regex) = regex {
            return Ok(Pattern { text, regex });
        }
        self.at = place;
        self.fail(&format!("`{text}` is not a pattern that can be read"))
    }

    fn value(&mut self) -> Result<String, QueryError> {
        match self.peek() {
            Some(Token::Word(text) | Token::Quoted(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => self.fail("expected a value"),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn takes(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(found)) if found == word);
        self.at += usize::from(found);
        found
    }

    fn takes_word_or(&mut self, word: &str, symbol: &'static str) -> bool {
        self.takes_word(word) || self.takes(&Token::Symbol(symbol))
    }

    fn fail<T>(&self, sentence: &str) -> Result<T, QueryError> {
        let position = self.tokens.get(self.at).map_or(self.end, |(_, position)| *position);
        Err(QueryError { position, sentence: sentence.to_owned() })
    }
}

/// Whether a `+` follows another quantifier: in Java that forbids to try again with less, here it would mean nothing of the
/// kind.
fn has_possessive_quantifier(pattern: &str) -> bool {
    let mut is_escaped = false;
    let mut in_class = false;
    let mut after_quantifier = false;
    for letter in pattern.chars() {
        if after_quantifier && letter == '+' {
            return true;
        }
        if !is_escaped {
            in_class = letter == '[' || in_class && letter != ']';
        }
        after_quantifier = !is_escaped && !in_class && "?*+}".contains(letter);
        is_escaped = !is_escaped && letter == '\\';
    }
    false
}

/// Which operators go with which subject, as the guide's table has it.
fn mismatch(subject: &Subject, test: &Test) -> Option<String> {
    let ordered = |test: &Test| !matches!(test, Test::Compare(Comparison::Equal | Comparison::NotEqual, _));
    let is_wrong = match subject {
        Subject::AgentConnected | Subject::Ec2InstanceId => {
            matches!(test, Test::Compare(..)) && ordered(test) || matches!(test, Test::Exists(_))
        }
        Subject::AgentVersion | Subject::RegisteredAt | Subject::RunningTasksCount => {
            !matches!(test, Test::Compare(..))
        }
        Subject::Attribute(_) | Subject::TaskGroup => false,
    };
    is_wrong.then(|| format!("this operator doesn't go with {subject}"))
}

/// What a value means to its subject.
fn typed(subject: &Subject, text: &str) -> Result<Value, String> {
    match subject {
        Subject::Attribute(_) | Subject::TaskGroup | Subject::Ec2InstanceId => Ok(Value::Text(text.to_owned())),
        Subject::AgentConnected => match text {
            "true" => Ok(Value::Truth(true)),
            "false" => Ok(Value::Truth(false)),
            other => Err(format!("agentConnected is true or false, not `{other}`")),
        },
        Subject::RunningTasksCount => {
            text.parse().map(Value::Number).map_err(|_| format!("`{text}` is no number of tasks"))
        }
        Subject::AgentVersion => {
            version(text).map(Value::Version).ok_or_else(|| format!("`{text}` is no version, as 1.74.1"))
        }
        Subject::RegisteredAt => moment(text)
            .map(|moment| Value::Date(text.to_owned(), moment))
            .ok_or_else(|| format!("`{text}` is no date, as 2018-06-18T22:28:28Z or 2018-06-18")),
    }
}

/// With a zone, with `Z`, without (then it is UTC), or the date alone (then it is its first moment).
fn moment(text: &str) -> Option<Timestamp> {
    let without_zone = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let date = format_description!("[year]-[month]-[day]");
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .or_else(|| PrimitiveDateTime::parse(text, without_zone).ok().map(PrimitiveDateTime::assume_utc))
        .or_else(|| Date::parse(text, date).ok().map(|date| date.midnight().assume_utc()))?;
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp)
}
