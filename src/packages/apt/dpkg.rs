//! The package database of Debian and its kin, asked through `dpkg-query`.

use anyhow::{Context, Result, bail};

use crate::packages::package::{Database, Installed};
use crate::system::command::Command;
use crate::system::text::printable;
use crate::version::Version;

/// A host with this file has such a database.
pub const STATUS: &str = "/var/lib/dpkg/status";
/// What dpkg has changed and not yet written there: an entry each.
pub const UPDATES: &str = "/var/lib/dpkg/updates";

/// What the database says of each of `names` that is on the host, whole or in part.
pub fn installed(names: &[&str]) -> Result<Vec<Installed>> {
    let arguments = ["-W", "-f=${db:Status-Abbrev}|${Package}|${Version}\n"]
        .iter()
        .chain(names);
    let output = Command::new("dpkg-query", arguments).run()?;
    // Status 1 only says that some of the names are unknown to it.
    if !matches!(output.code(), Some(0 | 1)) {
        bail!("cannot read the package database: {}", output.summary());
    }
    let mut found = Vec::new();
    for line in output.answer() {
        found.extend(parse(line)?);
    }
    Ok(found)
}

/// Reads `hi |teleport-ent|14.3.33`; none if the package is not on the host.
pub fn parse(line: &str) -> Result<Option<Installed>> {
    let mut fields = line.splitn(3, '|');
    let (Some(status), Some(name), Some(version)) = (fields.next(), fields.next(), fields.next())
    else {
        bail!(
            "dpkg-query said \"{}\", which is not what it was asked",
            printable(line, 80)
        );
    };
    // Wanted state, actual state, error flag. `n` is not installed, `c` has left only its configuration files.
    let state = status.chars().nth(1).unwrap_or(' ');
    if matches!(state, 'n' | 'c' | ' ') {
        return Ok(None);
    }
    let sound = state == 'i' && status.chars().nth(2).is_none_or(|flag| flag == ' ');
    Ok(Some(Installed {
        name: name.to_string(),
        version: Version::from_debian(version)
            .with_context(|| format!("the package database lists {name}"))?,
        package_version: version.to_string(),
        held: status.starts_with('h'),
        broken: (!sound).then(|| {
            format!(
                "dpkg lists it as \"{}\", not as \"ii\"",
                printable(status.trim(), 10)
            )
        }),
        database: Database::Dpkg,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_states_that_dpkg_knows() {
        for (status, expected) in [
            ("ii ", Some(true)),
            ("hi ", Some(true)),
            ("un ", None),
            ("rc ", None),
            ("iU ", Some(false)),
            ("iF ", Some(false)),
            ("iH ", Some(false)),
            ("iHR", Some(false)),
            ("iiR", Some(false)),
            ("it ", Some(false)),
        ] {
            let line = format!("{status}|teleport-ent|14.3.33");
            let sound = parse(&line)
                .unwrap()
                .map(|installed| installed.broken.is_none());
            assert_eq!(sound, expected, "{status}");
        }
    }

    #[test]
    fn knows_a_package_on_hold() {
        let held = |line| parse(line).unwrap().unwrap().held;
        assert!(held("hi |teleport|14.3.33") && held("hU |teleport|14.3.33"));
        assert!(!held("ii |teleport|14.3.33"));
    }

    #[test]
    fn keeps_the_version_as_the_database_spells_it() {
        let installed = parse("ii |teleport|14.0.0~rc.1-1").unwrap().unwrap();
        assert_eq!(installed.package_version, "14.0.0~rc.1-1");
        assert_eq!(installed.version, "14.0.0-rc.1".parse().unwrap());
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        assert!(parse("ii").is_err());
        let error = format!("{:#}", parse("ii |teleport|garbage").unwrap_err());
        assert_eq!(
            error,
            "the package database lists teleport: \"garbage\" is not a version like 14.3.33"
        );
    }
}
