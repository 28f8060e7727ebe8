//! What several arguments are made of.

use ottla::Timestamp;

/// A point in time as people write it: `2026-11-22T10:00:00Z`, `2026-11-22 10:00:00` (UTC), or
/// milliseconds since 1970.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(millis) = text.parse() {
        return Ok(Timestamp::from_millis(millis));
    }
    match humantime::parse_rfc3339_weak(text) {
        Ok(time) => Ok(time.into()),
        Err(_) => Err(format!("{text:?} is no time: 2026-11-22T10:00:00Z, or milliseconds")),
    }
}

pub(crate) fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or("it is HOST:PORT")?;
    let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

pub(crate) fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output;

    #[test]
    fn times_are_read_as_they_are_shown() {
        let at = Timestamp::from_millis(1_795_341_600_123);
        assert_eq!(output::time(at), "2026-11-22T10:00:00.123Z");
        assert_eq!(time(&output::time(at)), Ok(at));
        assert_eq!(time("1795341600123"), Ok(at));
        let whole = Timestamp::from_millis(1_795_341_600_000);
        assert_eq!(time("2026-11-22 10:00:00"), Ok(whole));
        assert!(time("yesterday").unwrap_err().contains("yesterday"));
        for odd in [-1, i64::MIN, i64::MAX, 253_402_300_800_000] {
            assert_eq!(output::time(Timestamp::from_millis(odd)), odd.to_string());
        }
        assert_eq!(
            output::time(Timestamp::from_millis(253_402_300_799_999)),
            "9999-12-31T23:59:59.999Z"
        );
    }
}
