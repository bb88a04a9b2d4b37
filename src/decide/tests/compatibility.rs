//! The compatibility rule, a case a row.

use super::{cluster, decided, host, pin, proxy, version};
use crate::agent::schedule::{Absence, WindowStatus};
use crate::decide::compatibility::{Limit, NotAllowed};
use crate::decide::decision::{Action, Decision};
use crate::decide::path::{Intermediate, Missing, Offer};
use crate::version::Version;

/// Where the repository is configured.
const SOURCE: &str = "/etc/apt/sources.list.d/teleport.list";
/// What is in the repository: no release of 17.
const OFFERED: &str = "10.3.16 11.3.27 12.4.1 12.4.35 13.0.0 13.4.9 13.4.15 13.5.0-rc.1 14.0.0 14.3.33 14.3.34 \
    15.0.0-rc.1 15.0.0 15.1.0 16.0.0 16.4.2 17.0.0-rc.1 18.0.0 18446744073709551615.0.0";

/// Installed and target version, cluster, pin, whether pre-releases are allowed; and what is decided.
const TABLE: &str = "
    # The installed version is always allowed.
    14.3.33     14.3.33     -           -           no   nothing
    14.3.33     14.3.33     13.0.0      -           no   nothing
    14.3.33     14.3.33     17.0.0      -           no   nothing
    14.3.33     14.3.33     -           15          no   nothing
    15.0.0-rc.1 15.0.0-rc.1 -           -           no   nothing

    # Within a major version, up and down.
    14.3.33     14.3.34     -           -           no   go
    14.3.33     14.0.0      -           -           no   go
    14.0.0      14.99.99    -           -           no   go

    # One major version up, in the repository or not: that is found out when the upgrade is prepared.
    14.3.33     15.0.0      -           -           no   go
    14.0.0      15.9.9      -           -           no   go
    0.1.0       1.0.0       -           -           no   go

    # More than one: through the latest release of each one between.
    12.4.1      14.3.34     -           -           no   go via 13.4.15
    12.4.35     14.0.0      -           -           no   go via 13.4.15
    12.4.1      15.0.0      -           -           no   go via 13.4.15 14.3.34
    11.3.27     16.4.2      -           -           no   go via 12.4.35 13.4.15 14.3.34 15.1.0
    14.3.34     16.0.0      -           -           no   go via 15.1.0

    # A major version with nothing but a release candidate is missing, even if pre-releases are allowed.
    16.4.2      18.0.0      -           -           no   lacks 17
    16.4.2      18.0.0      -           -           yes  lacks 17
    15.1.0      18.0.0      -           -           no   lacks 17
    18.0.0      20.0.0      -           -           no   lacks 19
    18.0.0      18446744073709551615.0.0 - -        no   lacks 19
    12.4.1      14.3.99     -           -           no   lacks target
    14.3.33     143.3.34    -           -           no   lacks 17

    # Down: one major version at most in all.
    14.3.33     13.9.9      -           -           no   go
    14.0.0      13.0.0      -           -           no   go
    14.3.33     12.99.99    -           -           no   too far down
    14.0.0      12.4.1      -           -           no   too far down
    16.0.0      12.4.1      -           -           no   too far down
    2.0.0       0.9.9       -           -           no   too far down

    # Never newer than the cluster.
    14.3.33     14.3.34     14.3.34     -           no   go
    14.3.33     14.3.34     14.3.33     -           no   above cluster
    14.3.33     14.4.0      14.3.99     -           no   above cluster
    14.3.33     15.0.0      14.99.99    -           no   above cluster
    14.3.33     15.0.0      15.0.0      -           no   go
    14.3.33     15.0.0      15.0.0-rc.1 -           no   above cluster
    14.3.33     15.0.0-rc.1 15.0.0      -           yes  go
    12.4.1      14.3.34     14.3.34     -           no   go via 13.4.15
    12.4.1      14.3.34     14.3.33     -           no   above cluster
    12.4.1      14.3.34     13.4.15     -           no   above cluster
    16.0.0      15.0.0      14.3.34     -           no   above cluster

    # Never two major versions older than the cluster.
    14.3.33     14.3.34     15.0.0      -           no   go
    14.3.33     14.3.34     15.99.99    -           no   go
    14.3.33     14.3.34     16.0.0      -           no   behind cluster
    14.3.33     14.3.34     16.0.0-rc.1 -           no   behind cluster
    14.3.33     13.4.15     14.3.33     -           no   go
    14.3.33     13.4.15     15.0.0      -           no   behind cluster
    12.4.1      13.4.15     15.0.0      -           no   behind cluster

    # An agent outside these limits comes back step by step.
    12.4.1      15.0.0      16.0.0      -           no   go via 13.4.15 14.3.34
    11.3.27     14.3.34     15.0.0      -           no   go via 12.4.35 13.4.15
    15.1.0      14.3.34     14.3.34     -           no   go
    14.3.34     14.3.33     14.3.33     -           no   go
    16.0.0      14.3.34     14.3.34     -           no   too far down

    # A pinned version.
    14.3.33     14.3.34     -           14.3.34     no   go
    14.3.33     14.3.34     -           14.3.33     no   pin
    14.3.33     14.3.32     -           14.3.33     no   pin
    14.3.33     15.0.0      -           14.3.33     no   pin
    12.4.1      14.3.34     -           14.3.34     no   go via 13.4.15

    # A pinned major version.
    14.3.33     14.0.0      -           14          no   go
    14.3.33     14.99.99    -           14          no   go
    14.3.33     15.0.0      -           14          no   pin
    14.0.0      13.99.99    -           14          no   pin
    13.4.15     14.3.34     -           14          no   go
    15.0.0      14.3.34     -           14          no   go
    12.4.1      14.3.34     -           14          no   go via 13.4.15
    12.4.1      14.3.34     -           13          no   pin
    16.0.0      14.3.34     -           14          no   too far down

    # The cluster limits a pinned host too.
    14.3.33     14.3.34     14.3.33     14          no   above cluster
    14.3.33     14.3.34     16.0.0      14          no   behind cluster

    # Pre-releases.
    14.3.34     15.0.0-rc.1 -           -           no   pre-release
    14.3.34     15.0.0-rc.1 -           -           yes  go
    15.0.0-rc.1 15.0.0      -           -           no   go
    15.0.0-rc.1 15.0.0-rc.2 -           -           yes  go
    15.0.0      15.0.0-rc.1 -           -           yes  go
    15.0.0      15.0.0-rc.1 -           -           no   pre-release
    13.4.15     15.0.0-rc.1 -           -           yes  go via 14.3.34
    14.3.34     15.0.0-rc.1 14.3.34     -           yes  above cluster
    14.3.34     15.0.0-rc.1 -           14          yes  pin
    14.3.34     15.0.0-rc.1 -           15.0.0-rc.1 no   pre-release
";

fn offered() -> Vec<Version> {
    OFFERED.split_whitespace().map(version).collect()
}

/// The decision in the words of the table.
fn in_words(decision: &Decision, from: &Version, to: &Version, runs: &str) -> String {
    let limit = match decision {
        Decision::UpToDate => return "nothing".into(),
        Decision::Go(Action::Upgrade(path), _) => {
            assert_eq!((&path.from, &path.target), (from, to));
            let Intermediate::Known(versions) = &path.intermediate else {
                panic!("{path:?}")
            };
            let via: Vec<String> = versions.iter().map(ToString::to_string).collect();
            let via = (!via.is_empty()).then(|| format!(" via {}", via.join(" ")));
            return format!("go{}", via.unwrap_or_default());
        }
        Decision::NotAllowed(NotAllowed::Change {
            from: installed,
            to: target,
            limit,
        }) => {
            assert_eq!((installed, target), (from, to));
            limit
        }
        other => panic!("{other:?}"),
    };
    match limit {
        Limit::PreRelease => "pre-release".into(),
        Limit::Pin(_) => "pin".into(),
        Limit::TooFarDown => "too far down".into(),
        Limit::AboveCluster(by, address) | Limit::BehindCluster(by, address) => {
            assert_eq!((by, address), (&version(runs), &proxy()));
            let above = matches!(limit, Limit::AboveCluster(..));
            format!("{} cluster", if above { "above" } else { "behind" })
        }
        Limit::NoPath(missing, versions, source) => {
            assert_eq!((versions, source.as_str()), (&offered(), SOURCE));
            match missing {
                Missing::Major(major) => format!("lacks {major}"),
                Missing::Target => "lacks target".into(),
            }
        }
    }
}

#[test]
fn the_rule_as_a_table() {
    let rows = TABLE.lines().map(str::trim);
    let rows: Vec<&str> = rows
        .filter(|row| !row.is_empty() && !row.starts_with('#'))
        .collect();
    assert!(rows.len() >= 60, "{}", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.split_whitespace().collect();
        let (from, to, runs) = (version(cells[0]), version(cells[1]), cells[2]);
        let expected = cells[5..].join(" ");
        let mut seen = host(&from, &to, cluster(runs), pin(cells[3]), cells[4] == "yes");
        seen.offer = Some(Offer::Versions(offered(), SOURCE.into()));
        let decision = decided(&seen);
        assert_eq!(in_words(&decision, &from, &to, runs), expected, "{row}");
        seen.forced = true;
        let forced = decided(&seen);
        assert_eq!(
            in_words(&forced, &from, &to, runs),
            expected,
            "{row}, forced"
        );
        (seen.forced, seen.critical) = (false, Some(true));
        seen.windows = WindowStatus::Absent(Absence::Missing);
        let critical = decided(&seen);
        let words = in_words(&critical, &from, &to, runs);
        assert_eq!(words, expected, "{row}, critical");
    }
}
