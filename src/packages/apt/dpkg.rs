//! The package database of Debian and its kin, queried through `dpkg-query`.

use anyhow::{Context, Result, bail};

use crate::packages::package::{Database, Installed};
use crate::system::process::command::Command;
use crate::system::text::printable;
use crate::version::Version;

/// A host with this file has such a database.
pub const STATUS: &str = "/var/lib/dpkg/status";
/// Changes by dpkg that are not written there yet, a file each.
pub const UPDATES: &str = "/var/lib/dpkg/updates";

/// The packages among `names` that the database lists, complete or not.
pub fn installed(names: &[&str]) -> Result<Vec<Installed>> {
    let arguments = ["-W", "-f=${db:Status-Abbrev}|${Package}|${Version}\n"]
        .iter()
        .chain(names);
    let output = Command::new("dpkg-query", arguments).run()?;
    // Status 1 means that some of the names are unknown to it.
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
            "unexpected output from dpkg-query: \"{}\"",
            printable(line, 80)
        );
    };
    // Selected state, actual state, error flag. `n` is not installed, `c` has only its configuration files left.
    let state = status.chars().nth(1).unwrap_or(' ');
    if matches!(state, 'n' | 'c' | ' ') {
        return Ok(None);
    }
    let intact = state == 'i' && status.chars().nth(2).is_none_or(|flag| flag == ' ');
    Ok(Some(Installed {
        name: name.to_string(),
        version: Version::from_debian(version)
            .with_context(|| format!("the package database lists {name}"))?,
        package_version: version.to_string(),
        held: status.starts_with('h'),
        broken: (!intact).then(|| {
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
    fn reads_dpkgs_states() {
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
            let intact = parse(&line)
                .unwrap()
                .map(|installed| installed.broken.is_none());
            assert_eq!(intact, expected, "{status}");
        }
    }

    #[test]
    fn recognizes_a_package_on_hold() {
        let held = |line| parse(line).unwrap().unwrap().held;
        assert!(held("hi |teleport|14.3.33") && held("hU |teleport|14.3.33"));
        assert!(!held("ii |teleport|14.3.33"));
    }

    #[test]
    fn the_version_keeps_the_databases_spelling() {
        let installed = parse("ii |teleport|14.0.0~rc.1-1").unwrap().unwrap();
        assert_eq!(installed.package_version, "14.0.0~rc.1-1");
        assert_eq!(installed.version, "14.0.0-rc.1".parse().unwrap());
    }

    #[test]
    fn unexpected_output_is_an_error() {
        assert!(parse("ii").is_err());
        let error = format!("{:#}", parse("ii |teleport|garbage").unwrap_err());
        assert_eq!(
            error,
            "the package database lists teleport: \"garbage\" is not a version like 14.3.33"
        );
    }
}
