//! Tokens of pages: opaque to clients, and refused when they are none of ours.

/// The token of the page after this item.
pub(crate) fn write(last: &str) -> String {
    let mut token: String = last.bytes().map(|byte| format!("{byte:02x}")).collect();
    token.push_str(&format!("{:02x}", last.bytes().fold(0_u8, u8::wrapping_add)));
    token
}

/// The item after which the page begins.
pub(crate) fn read(token: &str) -> Option<String> {
    if !token.is_ascii() || token.len() % 2 == 1 {
        return None;
    }
    let mut bytes: Vec<u8> =
        (0..token.len()).step_by(2).map(|at| u8::from_str_radix(&token[at..at + 2], 16).ok()).collect::<Option<_>>()?;
    let sum = bytes.pop()?;
    (bytes.iter().copied().fold(0_u8, u8::wrapping_add) == sum).then(|| String::from_utf8(bytes).ok()).flatten()
}
