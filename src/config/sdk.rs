//! The variables of AWS's SDK at whose wrong values the SDK panics, or calls what is no address, or calls AWS as if nothing was set.
//! The SDK takes an empty value as it is.

use std::{collections::BTreeMap, ffi::OsString};

use super::Problem;

/// How often a call is tried, and how it is waited between the attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// `AWS_MAX_ATTEMPTS`.
    pub max_attempts: Option<u32>,
    /// Whether `AWS_RETRY_MODE` is `adaptive`, and not `standard`.
    pub is_adaptive: bool,
}

impl Retries {
    /// Reads them, and tells of all variables of the SDK that are wrong.
    pub(super) fn read(variables: &BTreeMap<OsString, OsString>, problems: &mut Vec<Problem>) -> Self {
        let mut retries = Self::default();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let read: fn(&mut Self, &str) -> Result<(), &'static str> = match name {
                "AWS_MAX_ATTEMPTS" => max_attempts,
                "AWS_RETRY_MODE" => retry_mode,
                "AWS_REGION" => region,
                // It counts only without the other.
                "AWS_DEFAULT_REGION" if !variables.contains_key(&OsString::from("AWS_REGION")) => region,
                "AWS_ENDPOINT_URL"
                | "AWS_ENDPOINT_URL_AUTO_SCALING"
                | "AWS_ENDPOINT_URL_CLOUDWATCH"
                | "AWS_ENDPOINT_URL_ECS"
                | "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2"
                | "AWS_ENDPOINT_URL_STS" => endpoint,
                _ => continue,
            };
            let Some(text) = value.to_str() else {
                problems.push(Problem::new(name, format!("is {}, which is not UTF-8", value.display())));
                continue;
            };
            if let Err(allowed) = read(&mut retries, text) {
                let hint = if text.is_empty() { ": take the variable away if none is meant" } else { "" };
                problems.push(Problem::new(name, format!("is {text:?}, but it takes {allowed}{hint}")));
            }
        }
        retries
    }
}

fn max_attempts(retries: &mut Retries, text: &str) -> Result<(), &'static str> {
    let text = text.trim();
    retries.max_attempts = text.parse().ok().filter(|number| *number > 0);
    // The job sets the number in any case, so that an empty one can count as unset.
    if text.is_empty() || retries.max_attempts.is_some() { Ok(()) } else { Err("a whole number, 1 or more") }
}

fn retry_mode(retries: &mut Retries, text: &str) -> Result<(), &'static str> {
    match text.trim().to_lowercase().as_str() {
        "" | "standard" => Ok(()),
        "adaptive" => {
            retries.is_adaptive = true;
            Ok(())
        }
        _ => Err("standard or adaptive"),
    }
}

fn region(_: &mut Retries, text: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = !text.is_empty() && text.bytes().all(is_plain) && !text.starts_with('-') && !text.ends_with('-');
    if is_name { Ok(()) } else { Err("the name of a Region, as us-east-1") }
}

fn endpoint(_: &mut Retries, text: &str) -> Result<(), &'static str> {
    let is_address = |address: http::Uri| {
        let is_web = matches!(address.scheme_str(), Some("http" | "https"));
        // A port is left out with its colon, or it is a number that there may be.
        let has_port = address
            .authority()
            .is_some_and(|authority| authority.as_str().rsplit(']').next().is_some_and(|rest| rest.contains(':')));
        is_web && address.host().is_some_and(|host| !host.is_empty()) && (!has_port || address.port_u16().is_some())
    };
    if text.parse().is_ok_and(is_address) { Ok(()) } else { Err("an address that begins with http:// or https://") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of variables `NAME=value`, and what is told.
    fn read(variables: &[&str]) -> (Retries, Vec<String>) {
        let pairs = variables.iter().map(|variable| variable.split_once('=').unwrap());
        let variables = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        let mut problems = Vec::new();
        let retries = Retries::read(&variables, &mut problems);
        (retries, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn attempts_are_as_the_variables_say_and_an_empty_one_is_unset() {
        for (variables, max_attempts, is_adaptive) in [
            (&[][..], None, false),
            (&["AWS_MAX_ATTEMPTS=", "AWS_RETRY_MODE="], None, false),
            (&["AWS_MAX_ATTEMPTS=3", "AWS_RETRY_MODE=standard"], Some(3), false),
            (&["AWS_MAX_ATTEMPTS= 1 ", "AWS_RETRY_MODE=Adaptive"], Some(1), true),
        ] {
            assert_eq!(read(variables), (Retries { max_attempts, is_adaptive }, Vec::new()), "{variables:?}");
        }
    }

    #[test]
    fn addresses_and_regions_that_the_sdk_can_use_are_taken() {
        for value in [
            "http://localhost:8080",
            "https://ecs.eu-west-1.amazonaws.com",
            "https://vpce-1.ecs.eu-west-1.vpce.amazonaws.com/",
            "http://127.0.0.1:9/path?query",
            "http://[::1]:8080",
            "http://my_proxy",
        ] {
            assert_eq!(read(&[&format!("AWS_ENDPOINT_URL_ECS={value}")]).1, Vec::<String>::new(), "{value}");
        }
        for variables in [
            &["AWS_REGION=us-gov-west-1"][..],
            &["AWS_REGION=local", "AWS_DEFAULT_REGION="],
            &["AWS_DEFAULT_REGION=eu-west-1"],
            // Of no concern to the job.
            &["AWS_ENDPOINT_URL_S3=garbage", "AWS_PROFILE="],
        ] {
            assert_eq!(read(variables).1, Vec::<String>::new(), "{variables:?}");
        }
    }

    #[test]
    fn what_the_sdk_would_panic_at_or_misunderstand_is_told_with_what_is_allowed() {
        let (number, mode) = ("a whole number, 1 or more", "standard or adaptive");
        let (region, address) =
            ("the name of a Region, as us-east-1", "an address that begins with http:// or https://");
        for (name, values, allowed) in [
            ("AWS_MAX_ATTEMPTS", &["abc", "0", "-1", "1.5", "99999999999"][..], number),
            ("AWS_RETRY_MODE", &["legacy", "off"], mode),
            ("AWS_REGION", &["us east", "US-EAST-1", "us-east-1 ", "-", "eu/west"], region),
            ("AWS_DEFAULT_REGION", &["us east"], region),
            (
                "AWS_ENDPOINT_URL",
                &["garbage", "localhost:8080", "http://", "http://a b", "http://a:b", "ftp://a"],
                address,
            ),
            ("AWS_ENDPOINT_URL_ECS", &["http:/a", "http://a:", "http://a:99999", "http://[::1", "http://:80"], address),
            ("AWS_ENDPOINT_URL_CLOUDWATCH", &["garbage"], address),
        ] {
            for value in values {
                let told = read(&[&format!("{name}={value}")]).1;
                assert_eq!(told, [format!("{name} is {value:?}, but it takes {allowed}")]);
            }
        }
        for (name, allowed) in
            [("AWS_REGION", region), ("AWS_ENDPOINT_URL", address), ("AWS_ENDPOINT_URL_CLOUDWATCH", address)]
        {
            let told = format!("{name} is \"\", but it takes {allowed}: take the variable away if none is meant");
            assert_eq!(read(&[&format!("{name}=")]).1, [told]);
        }
    }
}
