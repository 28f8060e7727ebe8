//! What a broker can do, and in which version to ask it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::error::{Error, Result};
use crate::wire::ApiKey;
use crate::wire::api_versions::ApiVersion;

/// The versions that a broker takes, by API.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions(BTreeMap<i16, (i16, i16)>);

impl Versions {
    pub(super) fn new(told: &[ApiVersion]) -> Self {
        let each = told.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        Versions(each.collect())
    }

    /// Whether it can be asked at all.
    pub(super) fn has(&self, api: ApiKey) -> bool {
        self.0.contains_key(&(api as i16))
    }

    /// The highest version that both sides know, up to `most`.
    pub(super) fn choose(&self, api: ApiKey, most: i16, broker: &str) -> Result<i16> {
        let ours = narrowed(api.versions(), most);
        let theirs = self.0.get(&(api as i16)).copied();
        let common = theirs.and_then(|(min, max)| {
            let version = max.min(*ours.end());
            (version >= min.max(*ours.start())).then_some(version)
        });
        common.ok_or_else(|| Error::UnsupportedVersion {
            broker: broker.to_owned(),
            api: api.name(),
            theirs: theirs.map(|(min, max)| min..=max),
            ours,
        })
    }
}

fn narrowed(range: RangeInclusive<i16>, most: i16) -> RangeInclusive<i16> {
    *range.start()..=(*range.end()).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen() {
        let told = |min_version, max_version| {
            let api_key = ApiKey::Fetch as i16;
            Versions::new(&[ApiVersion { api_key, min_version, max_version }])
        };
        let chosen = |versions: &Versions, most| versions.choose(ApiKey::Fetch, most, "kafka:9092");
        assert_eq!(chosen(&told(0, 99), i16::MAX).unwrap(), *ApiKey::Fetch.versions().end());
        assert_eq!(chosen(&told(0, 99), 12).unwrap(), 12);
        assert_eq!(chosen(&told(0, 7), 12).unwrap(), 7);
        let error = chosen(&told(0, 3), 12).unwrap_err().to_string();
        for part in ["kafka:9092", "Fetch", "0 to 3", "4 to 12"] {
            assert!(error.contains(part), "{error}");
        }
        let error = chosen(&Versions::default(), 12).unwrap_err().to_string();
        assert!(error.contains("does not have Fetch"), "{error}");
    }
}
